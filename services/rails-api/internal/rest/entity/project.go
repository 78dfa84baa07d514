package entity

// ProjectBasic is a project as lists show it to strangers and with simple=true.
type ProjectBasic struct {
	ID                int64     `json:"id"`
	Description       *string   `json:"description"`
	Name              string    `json:"name"`
	NameWithNamespace string    `json:"name_with_namespace"`
	Path              string    `json:"path"`
	PathWithNamespace string    `json:"path_with_namespace"`
	CreatedAt         Time      `json:"created_at"`
	DefaultBranch     *string   `json:"default_branch"`
	TagList           []string  `json:"tag_list"`
	Topics            []string  `json:"topics"`
	SSHURLToRepo      string    `json:"ssh_url_to_repo"`
	HTTPURLToRepo     string    `json:"http_url_to_repo"`
	WebURL            string    `json:"web_url"`
	ReadmeURL         *string   `json:"readme_url"`
	ForksCount        int       `json:"forks_count"`
	LicenseURL        *string   `json:"license_url,omitempty"`
	License           *License  `json:"license,omitempty"`
	AvatarURL         *string   `json:"avatar_url"`
	StarCount         int       `json:"star_count"`
	LastActivityAt    Time      `json:"last_activity_at"`
	Visibility        string    `json:"visibility"`
	Namespace         Namespace `json:"namespace"`
}

// License is the licence of a project's code.
type License struct {
	Key       string  `json:"key"`
	Name      string  `json:"name"`
	Nickname  *string `json:"nickname"`
	HTMLURL   *string `json:"html_url"`
	SourceURL *string `json:"source_url"`
}

// ProjectLinks are the URLs of a project's parts.
type ProjectLinks struct {
	Self          string `json:"self"`
	Issues        string `json:"issues"`
	MergeRequests string `json:"merge_requests"`
	RepoBranches  string `json:"repo_branches"`
	Labels        string `json:"labels"`
	Events        string `json:"events"`
	Members       string `json:"members"`
	ClusterAgents string `json:"cluster_agents"`
}

// Features are the switches of a project's parts. A part that gitsplit does not have yet says "disabled".
type Features struct {
	PackagesEnabled             bool   `json:"packages_enabled"`
	IssuesEnabled               bool   `json:"issues_enabled"`
	MergeRequestsEnabled        bool   `json:"merge_requests_enabled"`
	WikiEnabled                 bool   `json:"wiki_enabled"`
	JobsEnabled                 bool   `json:"jobs_enabled"`
	SnippetsEnabled             bool   `json:"snippets_enabled"`
	ContainerRegistryEnabled    bool   `json:"container_registry_enabled"`
	ServiceDeskEnabled          bool   `json:"service_desk_enabled"`
	LFSEnabled                  bool   `json:"lfs_enabled"`
	RepositoryAccessLevel       string `json:"repository_access_level"`
	MergeRequestsAccessLevel    string `json:"merge_requests_access_level"`
	ForkingAccessLevel          string `json:"forking_access_level"`
	IssuesAccessLevel           string `json:"issues_access_level"`
	WikiAccessLevel             string `json:"wiki_access_level"`
	BuildsAccessLevel           string `json:"builds_access_level"`
	SnippetsAccessLevel         string `json:"snippets_access_level"`
	PagesAccessLevel            string `json:"pages_access_level"`
	AnalyticsAccessLevel        string `json:"analytics_access_level"`
	ContainerRegistryAccess     string `json:"container_registry_access_level"`
	ReleasesAccessLevel         string `json:"releases_access_level"`
	EnvironmentsAccessLevel     string `json:"environments_access_level"`
	FeatureFlagsAccessLevel     string `json:"feature_flags_access_level"`
	InfrastructureAccessLevel   string `json:"infrastructure_access_level"`
	MonitorAccessLevel          string `json:"monitor_access_level"`
	ModelExperimentsAccessLevel string `json:"model_experiments_access_level"`
	SecurityAccessLevel         string `json:"security_and_compliance_access_level"`
}

// Build holds the settings of a project's pipelines.
type Build struct {
	CIDefaultGitDepth          *int     `json:"ci_default_git_depth"`
	CIForwardDeployment        bool     `json:"ci_forward_deployment_enabled"`
	CIJobTokenScopeEnabled     bool     `json:"ci_job_token_scope_enabled"`
	CISeparatedCaches          bool     `json:"ci_separated_caches"`
	CIConfigPath               *string  `json:"ci_config_path"`
	BuildGitStrategy           string   `json:"build_git_strategy"`
	BuildTimeout               int      `json:"build_timeout"`
	AutoCancelPendingPipelines string   `json:"auto_cancel_pending_pipelines"`
	PublicJobs                 bool     `json:"public_jobs"`
	SharedRunnersEnabled       bool     `json:"shared_runners_enabled"`
	GroupRunnersEnabled        bool     `json:"group_runners_enabled"`
	KeepLatestArtifact         bool     `json:"keep_latest_artifact"`
	RunnersToken               *string  `json:"runners_token"`
	RunnerTokenExpiration      *int     `json:"runner_token_expiration_interval"`
	SharedWithGroups           []string `json:"shared_with_groups"`
}

// Merging holds the settings of a project's merge requests.
type Merging struct {
	OnlyAllowMergeIfPipelineSucceeds bool   `json:"only_allow_merge_if_pipeline_succeeds"`
	AllowMergeOnSkippedPipeline      *bool  `json:"allow_merge_on_skipped_pipeline"`
	RequestAccessEnabled             bool   `json:"request_access_enabled"`
	OnlyAllowMergeIfAllResolved      bool   `json:"only_allow_merge_if_all_discussions_are_resolved"`
	RemoveSourceBranchAfterMerge     *bool  `json:"remove_source_branch_after_merge"`
	PrintingMergeRequestLinkEnabled  bool   `json:"printing_merge_request_link_enabled"`
	MergeMethod                      string `json:"merge_method"`
	SquashOption                     string `json:"squash_option"`
	ResolveOutdatedDiffDiscussions   bool   `json:"resolve_outdated_diff_discussions"`
	AutocloseReferencedIssues        bool   `json:"autoclose_referenced_issues"`
	CanCreateMergeRequestIn          bool   `json:"can_create_merge_request_in"`
}

// Access is a level of access with its notification level.
type Access struct {
	AccessLevel       int `json:"access_level"`
	NotificationLevel int `json:"notification_level"`
}

// Permissions is what the asking user has on the project itself and through its group.
type Permissions struct {
	ProjectAccess *Access `json:"project_access"`
	GroupAccess   *Access `json:"group_access"`
}

// Statistics are the sizes of a project, shown with statistics=true.
type Statistics struct {
	CommitCount      int64 `json:"commit_count"`
	StorageSize      int64 `json:"storage_size"`
	RepositorySize   int64 `json:"repository_size"`
	WikiSize         int64 `json:"wiki_size"`
	LFSObjectsSize   int64 `json:"lfs_objects_size"`
	JobArtifactsSize int64 `json:"job_artifacts_size"`
	PackagesSize     int64 `json:"packages_size"`
	SnippetsSize     int64 `json:"snippets_size"`
	UploadsSize      int64 `json:"uploads_size"`
}

// Project is a project with all that its readers may see.
type Project struct {
	ProjectBasic
	ContainerRegistryImagePrefix string       `json:"container_registry_image_prefix"`
	Links                        ProjectLinks `json:"_links"`
	EmptyRepo                    bool         `json:"empty_repo"`
	Archived                     bool         `json:"archived"`
	Owner                        *UserBasic   `json:"owner,omitempty"`
	RepositoryObjectFormat       string       `json:"repository_object_format"`
	CreatorID                    *int64       `json:"creator_id"`
	ImportURL                    *string      `json:"import_url"`
	ImportType                   *string      `json:"import_type"`
	ImportStatus                 string       `json:"import_status"`
	ImportError                  *string      `json:"import_error"`
	OpenIssuesCount              int          `json:"open_issues_count"`
	DescriptionHTML              string       `json:"description_html"`
	UpdatedAt                    Time         `json:"updated_at"`
	MarkedForDeletionOn          *Date        `json:"marked_for_deletion_on"`
	Features
	Build
	Merging
	// ForkedFromProject is left out when the reader may not see it; its forks_count is not told.
	ForkedFromProject *ProjectBasic `json:"forked_from_project,omitempty"`
	Statistics        *Statistics   `json:"statistics,omitempty"`
	Permissions       *Permissions  `json:"permissions,omitempty"`
}
