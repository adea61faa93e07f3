//go:build race

package chaos

func init() { raceFlags = []string{"-race"} }
