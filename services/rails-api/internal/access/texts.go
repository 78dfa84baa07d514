package access

import "gitsplit/services/rails-api/internal/user"

// The texts people read, as GitLab words them (wire/internal-api.md §5 and §6).
const (
	forbidden         = "403 Forbidden"
	projectNotFound   = "The project you were looking for could not be found or you don't have permission to view it."
	namespaceNotFound = "The namespace you were looking for could not be found."

	otpRequired      = "OTP verification is required to access the repository.\n\n   Use: "
	otherNamespace   = "You are not allowed to access projects in this namespace."
	keyExpired       = "Your SSH key has expired."
	actionUnknown    = "The command you're trying to execute is not allowed."
	mayNotDownload   = "You are not allowed to download code."
	mayNotUpload     = "You are not allowed to upload code."
	noDownload       = "You are not allowed to download code from this project."
	noUpload         = "You are not allowed to upload code for this project."
	noPush           = "You are not allowed to push code to this project."
	readOnly         = "The repository is temporarily read-only. Please try again later."
	readOnlyKey      = "This deploy key does not have write access to this project."
	archived         = "You can't push code to an archived project."
	notCreated       = "Could not create project: "
	timedOut         = "Push operation timed out"
	deleteDefault    = "The default branch of a project cannot be deleted."
	forcePush        = "You are not allowed to force push code to a protected branch on this project."
	deleteProtected  = "You are not allowed to delete protected branches from this project. Only a project maintainer or owner can delete a protected branch."
	deleteByWeb      = "You can only delete protected branches using the web interface."
	pushProtected    = "You are not allowed to push code to protected branches on this project."
	createProtected  = "You are not allowed to create protected branches on this project."
	createFromOther  = "You can only use an existing protected branch ref as the basis of a new protected branch."
	createByWeb      = "You can only create protected branches using the web interface and API."
	hashBranch       = "You cannot create a branch with a SHA-1 or SHA-256 branch name."
	badBranch        = "You cannot create a branch with an invalid name."
	changeTag        = "You are not allowed to change existing tags on this project."
	defaultBranchTag = "You cannot use default branch name to create a tag"
	badTag           = "You cannot create a tag with a prohibited pattern."
	hashTag          = "You cannot create a tag with a SHA-1 or SHA-256 tag name."
	tagEncoding      = "Tag names must be valid when converted to UTF-8 encoding"
	lfsMissing       = `LFS objects are missing. Ensure LFS is properly set up or try a manual "git lfs push --all".`
	internalRef      = "You are not allowed to update the internal references of this project."
)

// stateText says why an account that is not active may not act.
func stateText(s user.State, page string) string {
	switch s {
	case user.PendingApproval:
		return "Your account is pending approval from your administrator and hence blocked."
	case user.Deactivated:
		return "Your account has been deactivated by your administrator. Please log back in from a web browser to reactivate your account at " + page
	}
	return "Your account has been blocked."
}

// lockedBy says who has locked a path.
func lockedBy(path, username string) string {
	return "'" + path + "' is locked in Git LFS by @" + username
}

// noDefaultBranch tells a developer that somebody else makes the first push.
func noDefaultBranch(branch, path, members string) string {
	return "\nA default branch (e.g. " + branch + ") does not yet exist for " + path +
		"\nAsk a project Owner or Maintainer to create a default branch:\n\n  " + members + "\n\n"
}
