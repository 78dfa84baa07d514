package rest

import (
	"net/http"

	"gitsplit/kit/errs"
	"gitsplit/services/rails-api/internal/namespace"
	"gitsplit/services/rails-api/internal/project"
	"gitsplit/services/rails-api/internal/rest/entity"
	"gitsplit/services/rails-api/internal/rest/permission"
)

// projectBasic shapes a project; forks counts those of the projects on the page.
func (a *api) projectBasic(p project.Project, forks map[int64]int) entity.ProjectBasic {
	basic := entity.ProjectBasic{
		ID:                p.ID,
		Description:       optional(p.Description),
		Name:              p.Name,
		NameWithNamespace: p.FullName,
		Path:              p.Path,
		PathWithNamespace: p.FullPath,
		CreatedAt:         entity.Time(p.CreatedAt),
		TagList:           []string{},
		Topics:            []string{},
		SSHURLToRepo:      a.site.SSHClone(p.FullPath),
		HTTPURLToRepo:     a.site.HTTPClone(p.FullPath),
		WebURL:            a.web(p.FullPath),
		LastActivityAt:    entity.Time(p.LastActivityAt),
		Visibility:        string(p.Visibility),
		ForksCount:        forks[p.ID],
		Namespace:         a.namespaceEntity(p.Namespace),
	}
	if !p.EmptyRepo {
		basic.DefaultBranch = optional(p.DefaultBranch)
	}
	return basic
}

// projectEntities shapes a page of projects; what they need beyond their rows is read for all of them at once.
func (a *api) projectEntities(r *http.Request, list []project.Project) ([]entity.Project, error) {
	ids := idsOf(list)
	forks, err := a.projects.CountForks(r.Context(), ids)
	if err != nil {
		return nil, err
	}
	sources, err := a.sources(r, list)
	if err != nil {
		return nil, err
	}
	levels := permission.Levels{}
	if u := actor(r); u != nil {
		if levels, err = permission.Read(r.Context(), a.DB, u.ID, ids, a.Now()); err != nil {
			return nil, err
		}
	}
	return shapes(list, func(p project.Project) entity.Project {
		full := a.projectShape(p, forks)
		if p.ForkedFromID != nil {
			if source, ok := sources[*p.ForkedFromID]; ok {
				full.ForkedFromProject = new(a.projectBasic(source, nil))
			}
		}
		if actor(r) != nil {
			full.Permissions = &entity.Permissions{ProjectAccess: levels.Project(p.ID), GroupAccess: levels.Group(p.ID)}
			full.CanCreateMergeRequestIn = levels.Highest(p.ID) >= 20 || isAdmin(r)
		}
		return full
	}), nil
}

// projectFull shapes one project, with its owner.
func (a *api) projectFull(r *http.Request, p project.Project) (entity.Project, error) {
	list, err := a.projectEntities(r, []project.Project{p})
	if err != nil {
		return entity.Project{}, err
	}
	full := list[0]
	if p.Namespace.Kind == namespace.User && p.Namespace.OwnerID != nil && actor(r) != nil {
		owner, err := a.users.ByID(r.Context(), *p.Namespace.OwnerID)
		if err != nil && !is(err, errs.NotFound) {
			return full, err
		}
		if err == nil {
			full.Owner = new(a.userBasic(owner))
		}
	}
	return full, nil
}

func idsOf(list []project.Project) []int64 {
	ids := make([]int64, len(list))
	for i, p := range list {
		ids[i] = p.ID
	}
	return ids
}

func (a *api) projectShape(p project.Project, forks map[int64]int) entity.Project {
	link := func(part ...string) string { return a.apiURL("projects", p.ID, part...) }
	return entity.Project{
		ProjectBasic: a.projectBasic(p, forks),
		Links: entity.ProjectLinks{
			Self: link(), Issues: link("issues"), MergeRequests: link("merge_requests"), RepoBranches: link("repository", "branches"),
			Labels: link("labels"), Events: link("events"), Members: link("members"), ClusterAgents: link("cluster_agents"),
		},
		EmptyRepo:              p.EmptyRepo,
		Archived:               p.Archived,
		RepositoryObjectFormat: "sha1",
		CreatorID:              p.CreatorID,
		ImportStatus:           string(p.Import),
		ImportError:            optional(p.ImportError),
		UpdatedAt:              entity.Time(p.UpdatedAt),
		Features:               features(p),
		Build: entity.Build{
			BuildGitStrategy: "fetch", BuildTimeout: 3600, AutoCancelPendingPipelines: "enabled", PublicJobs: true, SharedWithGroups: []string{},
		},
		Merging: entity.Merging{
			MergeMethod: "merge", SquashOption: "default_off", PrintingMergeRequestLinkEnabled: p.MergeRequestLinks,
			AutocloseReferencedIssues: true,
		},
	}
}

// features tells which parts of a project there are.
func features(p project.Project) entity.Features {
	const on, off = "enabled", "disabled"
	return entity.Features{
		LFSEnabled: p.LFSEnabled, MergeRequestsEnabled: true, RepositoryAccessLevel: on, MergeRequestsAccessLevel: on,
		ForkingAccessLevel: on, IssuesAccessLevel: off, WikiAccessLevel: off, BuildsAccessLevel: off, SnippetsAccessLevel: off,
		PagesAccessLevel: off, AnalyticsAccessLevel: off, ContainerRegistryAccess: off, ReleasesAccessLevel: off, EnvironmentsAccessLevel: off,
		FeatureFlagsAccessLevel: off, InfrastructureAccessLevel: off, MonitorAccessLevel: off, ModelExperimentsAccessLevel: off,
		SecurityAccessLevel: off,
	}
}

func statistics(p project.Project) *entity.Statistics {
	return &entity.Statistics{CommitCount: p.CommitCount, StorageSize: p.RepositorySize, RepositorySize: p.RepositorySize}
}
