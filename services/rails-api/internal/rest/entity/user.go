package entity

// UserBasic is what anybody may know of a user.
type UserBasic struct {
	ID          int64   `json:"id"`
	Username    string  `json:"username"`
	Name        string  `json:"name"`
	State       string  `json:"state"`
	Locked      bool    `json:"locked"`
	AvatarURL   *string `json:"avatar_url"`
	WebURL      string  `json:"web_url"`
	PublicEmail *string `json:"public_email"`
}

// UserProfile is the public profile of a user.
type UserProfile struct {
	UserBasic
	CreatedAt       Time    `json:"created_at"`
	Bio             string  `json:"bio"`
	Location        string  `json:"location"`
	Linkedin        string  `json:"linkedin"`
	Twitter         string  `json:"twitter"`
	WebsiteURL      string  `json:"website_url"`
	Organization    string  `json:"organization"`
	JobTitle        string  `json:"job_title"`
	Pronouns        *string `json:"pronouns"`
	Bot             bool    `json:"bot"`
	WorkInformation *string `json:"work_information"`
	Followers       int     `json:"followers"`
	Following       int     `json:"following"`
	LocalTime       *string `json:"local_time"`
	IsFollowed      bool    `json:"is_followed"`
}

// User is a user as the user himself and administrators see it. IsAdmin and Note are for administrators only.
type User struct {
	UserProfile
	LastSignInAt     *Time    `json:"last_sign_in_at"`
	ConfirmedAt      *Time    `json:"confirmed_at"`
	LastActivityOn   *Date    `json:"last_activity_on"`
	Email            string   `json:"email"`
	ThemeID          int      `json:"theme_id"`
	ColorSchemeID    int      `json:"color_scheme_id"`
	ProjectsLimit    int      `json:"projects_limit"`
	CurrentSignInAt  *Time    `json:"current_sign_in_at"`
	Identities       []string `json:"identities"`
	CanCreateGroup   bool     `json:"can_create_group"`
	CanCreateProject bool     `json:"can_create_project"`
	TwoFactorEnabled bool     `json:"two_factor_enabled"`
	External         bool     `json:"external"`
	PrivateProfile   bool     `json:"private_profile"`
	CommitEmail      string   `json:"commit_email"`
	NamespaceID      int64    `json:"namespace_id"`
	IsAdmin          *bool    `json:"is_admin,omitempty"`
	Note             *string  `json:"note,omitempty"`
}

// SSHKey is a key of a user.
type SSHKey struct {
	ID         int64  `json:"id"`
	Title      string `json:"title"`
	CreatedAt  Time   `json:"created_at"`
	ExpiresAt  *Time  `json:"expires_at"`
	LastUsedAt *Time  `json:"last_used_at"`
	Key        string `json:"key"`
	UsageType  string `json:"usage_type"`
}

// DeployKey is an SSH key of projects. CanPush is about the one it was asked of, nil without one.
type DeployKey struct {
	ID                int64  `json:"id"`
	Title             string `json:"title"`
	Key               string `json:"key"`
	FingerprintSHA256 string `json:"fingerprint_sha256"`
	CreatedAt         Time   `json:"created_at"`
	ExpiresAt         *Time  `json:"expires_at"`
	CanPush           *bool  `json:"can_push,omitempty"`
}

// SSHCertificate is an authority whose SSH certificates a group accepts.
type SSHCertificate struct {
	ID        int64  `json:"id"`
	Title     string `json:"title"`
	Key       string `json:"key"`
	CreatedAt Time   `json:"created_at"`
}

// Token is a personal access token. Token.Token is set only when it was just made.
type Token struct {
	ID          int64    `json:"id"`
	Name        string   `json:"name"`
	Revoked     bool     `json:"revoked"`
	CreatedAt   Time     `json:"created_at"`
	Description *string  `json:"description"`
	Scopes      []string `json:"scopes"`
	UserID      int64    `json:"user_id"`
	LastUsedAt  *Time    `json:"last_used_at"`
	Active      bool     `json:"active"`
	ExpiresAt   *Date    `json:"expires_at"`
	Token       string   `json:"token,omitempty"`
}

// ResourceToken is an access token of a project or group.
type ResourceToken struct {
	Token
	AccessLevel  int    `json:"access_level"`
	ResourceType string `json:"resource_type"` // project or group
	ResourceID   int64  `json:"resource_id"`
}

// DeployToken is a deploy token of a project or group. Token is set only when it was just made; one that was revoked is gone.
type DeployToken struct {
	ID        int64    `json:"id"`
	Name      string   `json:"name"`
	Username  string   `json:"username"`
	ExpiresAt Time     `json:"expires_at"`
	Scopes    []string `json:"scopes"`
	Revoked   bool     `json:"revoked"`
	Expired   bool     `json:"expired"`
	Token     string   `json:"token,omitempty"`
}

// Member is a user with a level of access to a project or group.
type Member struct {
	UserBasic
	AccessLevel     int        `json:"access_level"`
	CreatedAt       Time       `json:"created_at"`
	CreatedBy       *UserBasic `json:"created_by,omitempty"`
	ExpiresAt       *Date      `json:"expires_at"`
	MembershipState string     `json:"membership_state"`
}
