package redact

// builtIn are the names that are sensitive whatever the configuration says.
var builtIn = func() map[string]class {
	m := make(map[string]class)
	for _, name := range everywhere {
		m[fold(name)] = asField | asPair | asParam
	}
	for _, name := range inURLs {
		m[fold(name)] |= asParam
	}
	return m
}()

// everywhere are headers and parameters that carry a credential and nothing else.
var everywhere = []string{
	// HTTP: RFC 9110 section 11, RFC 6265, and what vendors settled on
	"Authorization", "Proxy-Authorization", "Cookie", "Set-Cookie",
	"X-Api-Key", "Api-Key", "ApiKey", "X-Auth-Token", "X-Access-Token", "Private-Token",
	"X-Amz-Security-Token", "X-Goog-Api-Key", "Ocp-Apim-Subscription-Key",
	// OAuth 2.0: RFC 6749, 6750, 7521, 8693
	"access_token", "refresh_token", "id_token", "client_secret", "client_assertion",
	"subject_token", "actor_token",
	// plain words nobody uses for anything public
	"password", "passwd", "secret", "private_key", "api_token", "auth_token",
}

// inURLs are parameters that often carry a credential in a query string, but whose names
// mean other things elsewhere ("key" of a cache, "code" of an answer).
var inURLs = []string{
	"token", "key", "auth", "code", "assertion", "pass", "pwd", "jwt",
	"sig", "signature", "X-Amz-Signature", "X-Amz-Credential", "X-Goog-Signature",
	"X-Goog-Credential", "subscription-key",
}
