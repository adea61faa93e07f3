package host

import "context"

// Place says where in the configuration the guest stands that ctx was made for, such as
// "credential stripe: present oauth2". It is to be asked for while the guest is
// provisioned; it is empty for a guest that no Loader loads.
func Place(ctx context.Context) string {
	if l := loaderOf(ctx); l != nil {
		return l.place
	}
	return ""
}
