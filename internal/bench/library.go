package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// libraryTokens are read for one figure.
const libraryTokens = 60

// libraryTime is what golang-jwt's own parser, which rr uses, takes for one token on this
// core, in CPU time: into MapClaims, with issuer, audience and expiry checked. A gateway
// that sees a token for the first time cannot take less.
func (i *issuer) libraryTime(algorithm string, core int) (time.Duration, error) {
	list := i.made[algorithm]
	if len(list) > libraryTokens {
		list = list[:libraryTokens]
	}
	if len(list) == 0 {
		return 0, fmt.Errorf("no tokens of %s were made", algorithm)
	}
	parser := jwt.NewParser(jwt.WithValidMethods([]string{algorithm}), jwt.WithIssuer(tokenIssuer), jwt.WithAudience(tokenAudience), jwt.WithExpirationRequired())
	key := func(*jwt.Token) (any, error) { return i.publics[algorithm], nil }
	var used time.Duration
	var failed error
	err := onCores([]int{core}, func() {
		before, err1 := threadTime()
		for _, token := range list {
			if _, err := parser.Parse(token, key); err != nil {
				failed = err
			}
		}
		after, err2 := threadTime()
		used, failed = (after-before)/time.Duration(len(list)), errors.Join(failed, err1, err2)
	})
	return used, errors.Join(err, failed)
}
