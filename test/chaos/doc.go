// Package chaos has no code but its test: the gateway's own binary, as a process of its own,
// under load from callers of every sort, while everything around it fails, alone and together.
package chaos
