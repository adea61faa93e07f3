package wire

// Takes tells whether a kind takes an option under its own name.
func Takes(side, kind, option string) bool {
	return kindOf(side, kind).schema().find(option, nil) != nil
}
