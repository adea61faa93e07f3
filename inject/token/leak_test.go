package token

import (
	"testing"

	"github.com/caddy-rr/caddy-rr/internal/rrtest"
)

func TestMain(m *testing.M) { rrtest.Main(m) }
