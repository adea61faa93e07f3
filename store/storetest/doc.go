// Package storetest says what a store.Backend has to do, as tests that every one of them
// passes, and has a store in memory, with faults on demand, for tests of what is above.
package storetest
