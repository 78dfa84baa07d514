package entity

// Commit is a commit as lists and branches show it.
type Commit struct {
	ID               string              `json:"id"`
	ShortID          string              `json:"short_id"`
	CreatedAt        string              `json:"created_at"`
	ParentIDs        []string            `json:"parent_ids"`
	Title            string              `json:"title"`
	Message          string              `json:"message"`
	AuthorName       string              `json:"author_name"`
	AuthorEmail      string              `json:"author_email"`
	AuthoredDate     string              `json:"authored_date"`
	CommitterName    string              `json:"committer_name"`
	CommitterEmail   string              `json:"committer_email"`
	CommittedDate    string              `json:"committed_date"`
	Trailers         map[string]string   `json:"trailers"`
	ExtendedTrailers map[string][]string `json:"extended_trailers"`
	WebURL           string              `json:"web_url"`
}

// CommitStats counts the lines that a commit changes.
type CommitStats struct {
	Additions int32 `json:"additions"`
	Deletions int32 `json:"deletions"`
	Total     int32 `json:"total"`
}

// CommitDetail is a commit by itself.
type CommitDetail struct {
	Commit
	Stats        *CommitStats `json:"stats,omitempty"`
	Status       *string      `json:"status"`
	ProjectID    int64        `json:"project_id"`
	LastPipeline *struct{}    `json:"last_pipeline"`
}

// Branch is a branch with its last commit.
type Branch struct {
	Name               string `json:"name"`
	Commit             Commit `json:"commit"`
	Merged             bool   `json:"merged"`
	Protected          bool   `json:"protected"`
	DevelopersCanPush  bool   `json:"developers_can_push"`
	DevelopersCanMerge bool   `json:"developers_can_merge"`
	CanPush            bool   `json:"can_push"`
	Default            bool   `json:"default"`
	WebURL             string `json:"web_url"`
}

// TreeEntry is an entry of a directory.
type TreeEntry struct {
	ID   string `json:"id"`
	Name string `json:"name"`
	Type string `json:"type"`
	Path string `json:"path"`
	Mode string `json:"mode"`
}

// File is a file of the repository with its content.
type File struct {
	FileName        string `json:"file_name"`
	FilePath        string `json:"file_path"`
	Size            int64  `json:"size"`
	Encoding        string `json:"encoding"`
	ContentSHA256   string `json:"content_sha256"`
	Ref             string `json:"ref"`
	BlobID          string `json:"blob_id"`
	CommitID        string `json:"commit_id"`
	LastCommitID    string `json:"last_commit_id"`
	ExecuteFilemode bool   `json:"execute_filemode"`
	Content         string `json:"content"`
}

// AccessRule is one level that may do something to a protected branch.
type AccessRule struct {
	ID                     int64  `json:"id"`
	AccessLevel            int    `json:"access_level"`
	AccessLevelDescription string `json:"access_level_description"`
}

// ProtectedBranch is a rule for the branches that match its name.
type ProtectedBranch struct {
	ID                int64        `json:"id"`
	Name              string       `json:"name"`
	PushAccessLevels  []AccessRule `json:"push_access_levels"`
	MergeAccessLevels []AccessRule `json:"merge_access_levels"`
	AllowForcePush    bool         `json:"allow_force_push"`
}
