package entity

// Namespace is a place for projects: a group or the personal space of a user.
type Namespace struct {
	ID        int64   `json:"id"`
	Name      string  `json:"name"`
	Path      string  `json:"path"`
	Kind      string  `json:"kind"`
	FullPath  string  `json:"full_path"`
	ParentID  *int64  `json:"parent_id"`
	AvatarURL *string `json:"avatar_url"`
	WebURL    string  `json:"web_url"`
}

// Group is a group as lists show it.
type Group struct {
	ID                   int64   `json:"id"`
	WebURL               string  `json:"web_url"`
	Name                 string  `json:"name"`
	Path                 string  `json:"path"`
	Description          string  `json:"description"`
	Visibility           string  `json:"visibility"`
	ShareWithGroupLock   bool    `json:"share_with_group_lock"`
	RequireTwoFactor     bool    `json:"require_two_factor_authentication"`
	ProjectCreationLevel string  `json:"project_creation_level"`
	SubgroupCreation     string  `json:"subgroup_creation_level"`
	AutoDevopsEnabled    *bool   `json:"auto_devops_enabled"`
	EmailsDisabled       bool    `json:"emails_disabled"`
	MentionsDisabled     *bool   `json:"mentions_disabled"`
	LFSEnabled           bool    `json:"lfs_enabled"`
	DefaultBranch        *string `json:"default_branch"`
	AvatarURL            *string `json:"avatar_url"`
	RequestAccessEnabled bool    `json:"request_access_enabled"`
	FullName             string  `json:"full_name"`
	FullPath             string  `json:"full_path"`
	CreatedAt            Time    `json:"created_at"`
	ParentID             *int64  `json:"parent_id"`
}

// GroupDetail is a group by itself, with its first projects.
type GroupDetail struct {
	Group
	SharedWithGroups []Namespace `json:"shared_with_groups"`
	Projects         []Project   `json:"projects,omitzero"`
	SharedProjects   []Project   `json:"shared_projects,omitzero"`
}
