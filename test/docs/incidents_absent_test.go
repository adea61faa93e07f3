package docs

// notApplicable are lessons about what rr does not have. Whoever adds such a thing takes its
// line from here and writes the test.
var notApplicable = []struct {
	what    string
	sources []string
	why     string
}{
	{"A proxy that intercepts TLS checked the Host header and dialled the CONNECT target; hosts must be equal everywhere.",
		[]string{"superfly/tokenizer#56", "archie-judd/agent-sandbox.nix#150"},
		"rr is called by its own address. It intercepts no TLS and refuses CONNECT, so there is no second host; that the Host header and the absolute form change nothing is tested."},
	{"Decisions made at CONNECT were not made again for the requests inside the tunnel.",
		[]string{"onecli/onecli#178"},
		"There are no tunnels. Each request is judged, and open streams end when their caller loses access, which is tested."},
	{"Usage of streams that were broken off was not counted; budgets were charged after the answer; a spent budget was a 429 that clients retried.",
		[]string{"github/gh-aw-firewall#6517", "github/gh-aw-firewall#6542", "github/gh-aw-firewall#5271", "agentgateway/agentgateway#2171", "agentgateway/agentgateway#3302"},
		"There are no budgets or limits of use yet."},
	{"Filters of answers: secrets that vendors echo, fields that must not leave, cookies of vendors.",
		[]string{"denoland/clawpatrol#193", "denoland/clawpatrol#199", "agentcage/agentcage#156", "techlab-innov/llmtrace#274", "permitio/docs#640"},
		"Answers are not filtered, but for Location, Link and Refresh, in which the gateway's own credential is removed."},
	{"A store of secrets that was away: values were served forever, or asked for with each request, or its errors told of its topology.",
		[]string{"Infisical/agent-vault#206", "Infisical/agent-vault#249", "openclaw/openclaw#56217"},
		"Secrets come from the environment, from files, and from rr's own store; Vault and others put them into files. Files that change, disappear or are symlinks are tested."},
	{"A caller's key was put into the spans of OpenTelemetry.",
		[]string{"TykTechnologies/tyk#6296"},
		"rr makes no spans. Caddy's own tracing handler gets no credential from rr."},
	{"An agent approved its own proposal of a service; approvals were matched to the wrong request.",
		[]string{"Infisical/agent-vault#140"},
		"There are no proposals and no approvals by people. That a caller's credential cannot manage anything is tested."},
	{"Placeholders in requests were replaced by secrets wherever they stood, also where they were not declared.",
		[]string{"superfly/tokenizer#47", "NVIDIA/OpenShell"},
		"Nothing in a request is replaced: a credential goes to the place that the configuration names. That texts which look like placeholders stay as they are is tested."},
	{"Tools of MCP were turned into requests, and their arguments put into path, query and headers unescaped.",
		[]string{"CVE-2026-29791", "GHSA-v2x6-wwfw-r2rq"},
		"rr does not make requests out of tool calls; it forwards them."},
	{"Nodes did not see each other's revocations and refreshes, or their shared store was a new way to fail.",
		[]string{"chalabi2/caddy-jwt-blacklist", "PrefectHQ/fastmcp#4265"},
		"There is one node: the shared store does not exist yet. A second process on the same store is refused, and within one process refreshing once is tested."},
	{"Answers to authenticated requests were kept by caches in front of the gateway, unless they were marked private.",
		[]string{"coupergateway/couper#418"},
		"Answers are not changed, so what a vendor says about caching holds. Whoever puts a cache in front of the gateway has to keep it from keys in other headers than Authorization, which caches know (RFC 9111 section 3.5)."},
	{"Keys sealed into the request by its sender.",
		[]string{"superfly/tokenizer"},
		"rr holds the secrets itself."},
	{"Fallback from one provider to the next went on after an error of authentication.",
		[]string{"routatic/proxy#108"},
		"A proxy has one target and one credential for it; there is no chain of providers."},
}
