package internalapi

import (
	"encoding/json"
	"fmt"
	"strconv"
)

// Paths below Prefix, one per endpoint (wire/internal-api.md §2).
const (
	Prefix             = "/api/v4/internal"
	PathCheck          = "/check"
	PathAuthorizedKeys = "/authorized_keys"
	// PathAuthorizedCerts asks whom an SSH certificate names.
	PathAuthorizedCerts = "/authorized_certs"
	PathDiscover        = "/discover"
	PathAllowed         = "/allowed"
	PathPreReceive      = "/pre_receive"
	PathPostReceive     = "/post_receive"
	PathLFSAuth         = "/lfs_authenticate"
	PathTwoFactorCodes  = "/two_factor_recovery_codes"
	PathTwoFactorOTP    = "/two_factor_manual_otp_check"
	PathTwoFactorPush   = "/two_factor_push_otp_check"
	PathPersonalToken   = "/personal_access_token"
)

// AnyChanges is the value of AllowedRequest.Changes before the changes are known.
const AnyChanges = "_any"

// ID is a numeric id that callers send as a string or as a number
// (wire/internal-api.md §11). The zero value means "not given".
type ID int64

// MarshalJSON writes the string form, as gitlab-shell and gitaly do.
func (id ID) MarshalJSON() ([]byte, error) {
	return json.Marshal(strconv.FormatInt(int64(id), 10))
}

// UnmarshalJSON reads either form; null and "" are zero.
func (id *ID) UnmarshalJSON(b []byte) error {
	s := string(b)
	if len(b) > 0 && b[0] == '"' {
		if err := json.Unmarshal(b, &s); err != nil {
			return err
		}
	}
	if s == "null" || s == "" {
		*id = 0
		return nil
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 {
		return fmt.Errorf("id %q is not a positive number", s)
	}
	*id = ID(n)
	return nil
}

// AllowedRequest asks for access (wire/internal-api.md §3.1). gitlab-shell sends
// Project as typed and Changes "_any"; gitaly sends GLRepository, a disk path in
// Project, and one line per ref change. Exactly one of KeyID, UserID and Username
// says who asks.
type AllowedRequest struct {
	Action        string   `json:"action"`
	Project       string   `json:"project,omitempty"`
	Changes       string   `json:"changes,omitempty"`
	Protocol      string   `json:"protocol,omitempty"` // ssh, http or web
	KeyID         ID       `json:"key_id,omitempty"`
	UserID        ID       `json:"user_id,omitempty"`
	Username      string   `json:"username,omitempty"`
	CheckIP       string   `json:"check_ip,omitempty"`
	NamespacePath string   `json:"namespace_path,omitempty"` // a certificate's group; nothing outside of it is allowed
	GLRepository  string   `json:"gl_repository,omitempty"`
	RelativePath  string   `json:"relative_path,omitempty"`
	Env           string   `json:"env,omitempty"` // JSON text of a PushEnv
	PushOptions   []string `json:"push_options,omitempty"`
	ClientContext string   `json:"gitaly_client_context_bin,omitempty"`
}

// PushEnv names the quarantine of a push, relative to the repository.
type PushEnv struct {
	AlternateObjectDirectories []string `json:"GIT_ALTERNATE_OBJECT_DIRECTORIES_RELATIVE"`
	ObjectDirectory            string   `json:"GIT_OBJECT_DIRECTORY_RELATIVE"`
}

// AllowedResponse is the answer. On refusal only Status and Message are set.
type AllowedResponse struct {
	Status            bool            `json:"status"`
	Message           string          `json:"message,omitempty"`
	GLRepository      string          `json:"gl_repository,omitempty"`
	GLProjectPath     string          `json:"gl_project_path,omitempty"`
	GLProjectID       int64           `json:"gl_project_id,omitempty"`
	GLRootNamespaceID int64           `json:"gl_root_namespace_id,omitempty"`
	GLID              string          `json:"gl_id,omitempty"`
	GLUsername        string          `json:"gl_username,omitempty"`
	GLKeyType         string          `json:"gl_key_type,omitempty"`
	GLKeyID           int64           `json:"gl_key_id,omitempty"`
	GitConfigOptions  []string        `json:"git_config_options"`
	Gitaly            *Gitaly         `json:"gitaly,omitempty"`
	ConsoleMessages   []string        `json:"gl_console_messages"`
	NeedAudit         bool            `json:"need_audit"`
	RetryConfig       json.RawMessage `json:"retry_config,omitempty"` // how calls of gitaly are repeated, gRPC's JSON
}

// Gitaly says where a repository is served.
type Gitaly struct {
	Repository Repository        `json:"repository"`
	Address    string            `json:"address"`
	Token      string            `json:"token"`
	Features   map[string]string `json:"features"`
}

// Repository is gitaly's Repository message in the JSON of the HTTP interfaces.
type Repository struct {
	StorageName                   string   `json:"storage_name"`
	RelativePath                  string   `json:"relative_path"`
	GitObjectDirectory            string   `json:"git_object_directory"`
	GitAlternateObjectDirectories []string `json:"git_alternate_object_directories"`
	GLRepository                  string   `json:"gl_repository"`
	GLProjectPath                 string   `json:"gl_project_path"`
}

// AuthorizedKey is the answer about a public key.
type AuthorizedKey struct {
	ID        int64   `json:"id"`
	Title     string  `json:"title"`
	CreatedAt string  `json:"created_at"`
	ExpiresAt *string `json:"expires_at"`
	Key       string  `json:"key"`
	UsageType string  `json:"usage_type"`
}

// AuthorizedCert is the answer about an SSH certificate that the authority of a
// group signed (wire/internal-api.md §3.4).
type AuthorizedCert struct {
	Success   bool   `json:"success"`
	Namespace string `json:"namespace"` // full path of the group
	Username  string `json:"username"`
}

// DiscoverResponse says who the caller is; nobody (ID 0) when unknown.
type DiscoverResponse struct {
	ID       int64  `json:"id"`
	Username string `json:"username"`
	Name     string `json:"name"`
}

// CheckResponse is the answer of the health endpoint.
type CheckResponse struct {
	APIVersion    string `json:"api_version"`
	GitLabVersion string `json:"gitlab_version"`
	GitLabRev     string `json:"gitlab_rev"`
	Redis         bool   `json:"redis"`
}

// PreReceiveRequest and PreReceiveResponse raise a repository's counter of pushes
// in flight.
type PreReceiveRequest struct {
	GLRepository string `json:"gl_repository"`
	PushID       string `json:"push_id,omitempty"` // as in PostReceiveRequest
	// RelativePath is ours too: where in its storage the repository lies that the push
	// will change. A push to a place that the repository has left is refused.
	RelativePath string `json:"relative_path,omitempty"`
}

// PreReceiveResponse says whether the counter went up; false refuses the push.
type PreReceiveResponse struct {
	ReferenceCounterIncreased bool `json:"reference_counter_increased"`
}

// PostReceiveRequest reports refs that have moved.
//
// PushID is ours, an additional key that others ignore: 32 lower-case hexadecimal
// digits that name the push. The same push may be reported any number of times and
// counts once; without the id, each report is a push of its own. Empty Changes with
// an id say that the push moved nothing after its pre_receive: only the counter of
// pushes in flight goes down, once per id.
type PostReceiveRequest struct {
	GLRepository  string   `json:"gl_repository"`
	Identifier    string   `json:"identifier"` // gl_id
	Changes       string   `json:"changes"`
	PushOptions   []string `json:"push_options"` // null when there are none
	ClientContext string   `json:"gitaly_client_context_bin,omitempty"`
	PushID        string   `json:"push_id,omitempty"`
}

// Message types of a PostReceiveResponse.
const (
	MessageBasic = "basic"
	MessageAlert = "alert"
)

// Message is a text for the pushing user.
type Message struct {
	Message string `json:"message"`
	Type    string `json:"type"`
}

// PostReceiveResponse carries the texts for the user and whether the counter of
// pushes in flight went down.
type PostReceiveResponse struct {
	Messages                  []Message `json:"messages"`
	ReferenceCounterDecreased bool      `json:"reference_counter_decreased"`
}
