# Shared by the scripts of this folder: . .ci/lib.sh, from the repository root.

# The Go modules of this repository, one folder a line: the root first, then the
# nested ones. tools/ holds no code, only versions.
go_modules() {
	echo .
	find examples internal -name node_modules -prune -o -name go.mod -print 2>/dev/null |
		sed 's|/go.mod$||' | sort
}
