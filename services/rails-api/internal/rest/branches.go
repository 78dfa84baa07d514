package rest

import (
	"net/http"
	"regexp"
	"strings"

	"gitsplit/services/rails-api/internal/access"
	"gitsplit/services/rails-api/internal/member"
	"gitsplit/services/rails-api/internal/project"
	"gitsplit/services/rails-api/internal/protection"
	"gitsplit/services/rails-api/internal/rest/entity"
	"gitsplit/services/rails-api/internal/rest/page"
	"gitsplit/services/rails-api/internal/rest/param"
	"gitsplit/services/rails-api/internal/rest/repo"
)

// maxPattern bounds a regular expression of a caller.
const maxPattern = 255

func (a *api) branchRoutes() []route {
	const list, one = "/projects/{id}/repository/branches", "/projects/{id}/repository/branches/{branch:.+}"
	return []route{
		{"GET", list, anyone, a.listBranches},
		{"POST", list, signedIn, a.createBranch},
		{"GET", one, anyone, a.getBranch},
		{"DELETE", one, signedIn, a.deleteBranch},
	}
}

func (a *api) listBranches(w http.ResponseWriter, r *http.Request) error {
	p := params(r)
	pg := page.Read(p)
	q := repo.BranchQuery{
		Match:  branchMatcher(p),
		Sort:   p.Enum("sort", "name_asc", "name_asc", "updated_asc", "updated_desc"),
		Offset: pg.Offset(),
		Limit:  pg.Size,
	}
	if err := p.Err(); err != nil {
		return err
	}
	proj, git, err := a.repository(r, access.DownloadCode)
	if err != nil {
		return err
	}
	list, total, err := git.Branches(r.Context(), q)
	if err != nil {
		return err
	}
	shape, err := a.branchShape(r, proj)
	if err != nil {
		return err
	}
	return writeList(a, w, r, pg, list, total, shape)
}

// branchMatcher reads the filters of a list: search is a part of the name, with ^ its beginning and with $ its end; regex is a pattern
// that is matched in linear time.
func branchMatcher(p *param.Set) func(string) bool {
	if search := p.String("search"); search != "" {
		text := strings.TrimSuffix(strings.TrimPrefix(search, "^"), "$")
		return func(name string) bool {
			switch begins, ends := strings.HasPrefix(search, "^"), strings.HasSuffix(search, "$"); {
			case begins && ends:
				return name == text
			case begins:
				return strings.HasPrefix(name, text)
			case ends:
				return strings.HasSuffix(name, text)
			default:
				return strings.Contains(strings.ToLower(name), strings.ToLower(text))
			}
		}
	}
	pattern := p.String("regex")
	if pattern == "" {
		return nil
	}
	re, err := regexp.Compile(pattern)
	if err != nil || len(pattern) > maxPattern {
		p.Fault("regex", "is an invalid regular expression")
		return nil
	}
	return re.MatchString
}

func (a *api) getBranch(w http.ResponseWriter, r *http.Request) error {
	proj, git, err := a.repository(r, access.DownloadCode)
	if err != nil {
		return err
	}
	b, err := git.Branch(r.Context(), segment(r, "branch"))
	if err != nil {
		return missing(err, "Branch")
	}
	return a.writeBranch(w, r, http.StatusOK, proj, b)
}

func (a *api) writeBranch(w http.ResponseWriter, r *http.Request, status int, p project.Project, b repo.Branch) error {
	shape, err := a.branchShape(r, p)
	if err != nil {
		return err
	}
	return writeJSON(w, status, shape(b))
}

// branchShape reads what all branches of a project share, the rules and the caller's level, and returns how one is shown.
func (a *api) branchShape(r *http.Request, p project.Project) (func(repo.Branch) entity.Branch, error) {
	rules, err := a.protections.All(r.Context(), p.ID)
	if err != nil {
		return nil, err
	}
	level := member.NoAccess
	if isAdmin(r) {
		level = member.Admin
	} else if u := actor(r); u != nil {
		if level, err = a.Access.ProjectLevel(r.Context(), u.ID, p); err != nil {
			return nil, err
		}
	}
	return func(b repo.Branch) entity.Branch {
		covering := protection.Covering(rules, b.Name)
		shape := entity.Branch{
			Name:      b.Name,
			Commit:    a.commitEntity(p, b.Commit),
			Protected: len(covering) > 0,
			CanPush:   level >= member.Developer && len(covering) == 0 && !p.Archived,
			Default:   b.Name == p.DefaultBranch,
			WebURL:    a.web(p.FullPath, "-", "tree", escaped(b.Name)),
		}
		for _, rule := range covering {
			shape.DevelopersCanPush = shape.DevelopersCanPush || rule.PushLevel == member.Developer
			shape.DevelopersCanMerge = shape.DevelopersCanMerge || rule.MergeLevel == member.Developer
			shape.CanPush = shape.CanPush || (rule.PushLevel != member.NoAccess && level >= rule.PushLevel && !p.Archived)
		}
		return shape
	}, nil
}
