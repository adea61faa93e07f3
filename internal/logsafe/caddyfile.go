package logsafe

import (
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"go.uber.org/zap/zapcore"
)

const encoderNamespace = "caddy.logging.encoders"

// UnmarshalCaddyfile reads the encoder of a log. Syntax:
//
//	format rr [<encoder>] {
//		<options of the encoder>
//	}
//
//	format rr {
//		wrap <encoder> {
//			<options of the encoder>
//		}
//	}
//
// Without an encoder it is json.
func (l *LogEncoder) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // encoder name
	if d.NextArg() {
		return l.wrap(d)
	}
	for d.NextBlock(0) {
		if d.Val() != "wrap" {
			return d.Errf("rr log encoder: unrecognized option %q; there is: wrap", d.Val())
		}
		if l.WrappedRaw != nil {
			return d.Err("rr log encoder: wrap is given twice")
		}
		if !d.NextArg() {
			return d.Err("rr log encoder: wrap needs the name of an encoder, such as json or console")
		}
		if err := l.wrap(d); err != nil {
			return err
		}
	}
	return nil
}

// wrap reads the encoder whose name is the current token.
func (l *LogEncoder) wrap(d *caddyfile.Dispenser) error {
	name := d.Val()
	id := encoderNamespace + "." + name
	if _, err := caddy.GetModule(id); err != nil {
		return d.Errf("rr log encoder: there is no log encoder %q; known are: %s", name, strings.Join(encoders(), ", "))
	}
	guest, err := caddyfile.UnmarshalModule(d, id)
	if err != nil {
		return err
	}
	encoder, ok := guest.(zapcore.Encoder)
	if !ok {
		return d.Errf("rr log encoder: %s is a %T, not a log encoder", id, guest)
	}
	l.WrappedRaw = caddyconfig.JSONModuleObject(encoder, "format", name, nil)
	return nil
}

// encoders lists the registered log encoders that can be wrapped.
func encoders() []string {
	var names []string
	for _, m := range caddy.GetModules(encoderNamespace) {
		if name := m.ID.Name(); name != "rr" {
			names = append(names, name)
		}
	}
	return names
}

var _ caddyfile.Unmarshaler = (*LogEncoder)(nil)
