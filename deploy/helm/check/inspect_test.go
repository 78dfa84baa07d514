package check

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	apps "k8s.io/api/apps/v1"
	autoscaling "k8s.io/api/autoscaling/v2"
	batch "k8s.io/api/batch/v1"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	policy "k8s.io/api/policy/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
	gateway "sigs.k8s.io/gateway-api/apis/v1"
	experimental "sigs.k8s.io/gateway-api/apis/v1alpha2"
)

// installation is what one set of values makes, by kind.
type installation struct {
	pods     map[string]core.PodTemplateSpec // by "Kind/name"
	selects  map[string]*meta.LabelSelector  // of the workloads
	claims   []string                        // templates of a StatefulSet
	services map[string]*core.Service
	secrets  map[string]*core.Secret
	all      []runtime.Object
}

func install(t *testing.T, file string) installation {
	t.Helper()
	files, err := render(values(t, file), nil)
	if err != nil {
		t.Fatal(err)
	}
	in := installation{
		pods: map[string]core.PodTemplateSpec{}, selects: map[string]*meta.LabelSelector{},
		services: map[string]*core.Service{}, secrets: map[string]*core.Secret{}, all: objects(t, files),
	}
	for _, o := range in.all {
		switch o := o.(type) {
		case *apps.Deployment:
			in.pods["Deployment/"+o.Name], in.selects["Deployment/"+o.Name] = o.Spec.Template, o.Spec.Selector
		case *apps.StatefulSet:
			in.pods["StatefulSet/"+o.Name], in.selects["StatefulSet/"+o.Name] = o.Spec.Template, o.Spec.Selector
			for _, claim := range o.Spec.VolumeClaimTemplates {
				in.claims = append(in.claims, claim.Name)
			}
		case *batch.Job:
			in.pods["Job/"+o.Name] = o.Spec.Template
		case *core.Service:
			in.services[o.Name] = o
		case *core.Secret:
			in.secrets[o.Name] = o
		}
	}
	if len(in.pods) != 6 {
		t.Fatalf("there are %d kinds of pods, want five services and the migration", len(in.pods))
	}
	return in
}

// selected returns the names of the workloads whose pods match.
func (in installation) selected(s labels.Selector) []string {
	var names []string
	for name, pod := range in.pods {
		if s.Matches(labels.Set(pod.Labels)) {
			names = append(names, name)
		}
	}
	return names
}

// port returns whether a pod has the port, by name or number.
func port(pod core.PodTemplateSpec, want intstr.IntOrString) bool {
	return slices.ContainsFunc(pod.Spec.Containers, func(c core.Container) bool {
		return slices.ContainsFunc(c.Ports, func(p core.ContainerPort) bool {
			return want.StrVal != "" && p.Name == want.StrVal || want.StrVal == "" && p.ContainerPort == want.IntVal
		})
	})
}

func TestPods(t *testing.T) {
	t.Parallel()
	for _, file := range sets(t) {
		in := install(t, file)
		for name, pod := range in.pods {
			for _, fault := range in.podFaults(name, pod) {
				t.Errorf("%s: %s: %s", file, name, fault)
			}
		}
	}
}

func (in installation) podFaults(name string, pod core.PodTemplateSpec) []string {
	var faults []string
	want := func(ok bool, format string, args ...any) {
		if !ok {
			faults = append(faults, fmt.Sprintf(format, args...))
		}
	}
	s := pod.Spec
	c := s.SecurityContext
	want(c != nil && c.RunAsNonRoot != nil && *c.RunAsNonRoot && c.RunAsUser != nil && *c.RunAsUser == 10001, "may run as root")
	want(c != nil && c.SeccompProfile != nil && c.SeccompProfile.Type == core.SeccompProfileTypeRuntimeDefault, "has no seccomp profile")
	want(s.AutomountServiceAccountToken != nil && !*s.AutomountServiceAccountToken, "has a token of the cluster")
	want(s.EnableServiceLinks != nil && !*s.EnableServiceLinks, "gets variables of Services, which look like settings")
	serves := !strings.HasPrefix(name, "Job/")
	want(!serves || len(s.TopologySpreadConstraints) == 2, "is not spread")
	for _, spread := range s.TopologySpreadConstraints {
		selector, err := meta.LabelSelectorAsSelector(spread.LabelSelector)
		want(err == nil && slices.Equal(in.selected(selector), []string{name}), "is spread with others")
	}
	if serves {
		selector, err := meta.LabelSelectorAsSelector(in.selects[name])
		want(err == nil && slices.Equal(in.selected(selector), []string{name}), "is not what its workload selects, alone")
	}
	for _, c := range s.Containers {
		faults = append(faults, probeFaults(c, serves)...)
	}
	for _, c := range slices.Concat(s.InitContainers, s.Containers) {
		faults = append(faults, containerFaults(c)...)
		faults = append(faults, in.mountFaults(c, s.Volumes)...)
	}
	return faults
}

func probeFaults(c core.Container, serves bool) []string {
	var faults []string
	for kind, p := range map[string]*core.Probe{"startup": c.StartupProbe, "liveness": c.LivenessProbe, "readiness": c.ReadinessProbe} {
		if (p != nil) != serves {
			faults = append(faults, fmt.Sprintf("%s: probe of %s: %v", c.Name, kind, p))
			continue
		}
		if p == nil {
			continue
		}
		pod := core.PodTemplateSpec{Spec: core.PodSpec{Containers: []core.Container{c}}}
		path := map[string]string{"startup": "/-/liveness", "liveness": "/-/liveness", "readiness": "/-/readiness"}[kind]
		if p.HTTPGet == nil || p.HTTPGet.Path != path || !port(pod, p.HTTPGet.Port) {
			faults = append(faults, fmt.Sprintf("%s: %s asks %v", c.Name, kind, p.HTTPGet))
		}
	}
	return faults
}

func containerFaults(c core.Container) []string {
	var faults []string
	s := c.SecurityContext
	if s == nil || s.ReadOnlyRootFilesystem == nil || !*s.ReadOnlyRootFilesystem || s.AllowPrivilegeEscalation == nil || *s.AllowPrivilegeEscalation ||
		s.Capabilities == nil || !slices.Equal(s.Capabilities.Drop, []core.Capability{"ALL"}) || len(s.Capabilities.Add) > 0 {
		faults = append(faults, c.Name+": is not confined")
	}
	r := c.Resources
	if r.Requests.Cpu().IsZero() || r.Requests.Memory().IsZero() || r.Limits.Memory().IsZero() {
		faults = append(faults, fmt.Sprintf("%s: resources are %v", c.Name, r))
	}
	names := map[string]bool{}
	for _, e := range c.Env {
		if names[e.Name] {
			faults = append(faults, fmt.Sprintf("%s: %s is there twice", c.Name, e.Name))
		}
		names[e.Name] = true
		if strings.Contains(e.Value, "-password") || e.ValueFrom != nil && e.ValueFrom.SecretKeyRef != nil {
			faults = append(faults, fmt.Sprintf("%s: %s is a secret in the environment", c.Name, e.Name))
		}
	}
	return faults
}

// mountFaults looks for volumes that are not there, and for keys that the chart's own
// Secrets do not have.
func (in installation) mountFaults(c core.Container, volumes []core.Volume) []string {
	var faults []string
	for _, m := range c.VolumeMounts {
		there := slices.ContainsFunc(volumes, func(v core.Volume) bool { return v.Name == m.Name }) || slices.Contains(in.claims, m.Name)
		if !there {
			faults = append(faults, fmt.Sprintf("%s: there is no volume %s", c.Name, m.Name))
		}
	}
	for _, v := range volumes {
		if v.Projected == nil {
			continue
		}
		for _, source := range v.Projected.Sources {
			secret := in.secrets[source.Secret.Name]
			for _, item := range source.Secret.Items {
				if secret != nil && len(secret.Data[item.Key]) == 0 {
					faults = append(faults, fmt.Sprintf("Secret %s has no %s", secret.Name, item.Key))
				}
			}
			if secret == nil && strings.HasPrefix(source.Secret.Name, fullname) {
				faults = append(faults, "there is no Secret "+source.Secret.Name)
			}
		}
	}
	return faults
}

// Each service may know what it needs, and nothing more.
func TestSecretsOfEach(t *testing.T) {
	t.Parallel()
	rails := []string{"database_url", "gitaly_token", "gitlab_shell_secret", "gitlab_workhorse_secret", "initial_root_password", "initial_root_token", "rails_database_key", "redis_url"}
	want := map[string][]string{
		"StatefulSet/demo-gitsplit-gitaly":     {"gitaly_token", "gitlab_shell_secret"},
		"Deployment/demo-gitsplit-gitlab-sshd": {"gitlab_shell_secret", "ssh_host_ed25519_key", "ssh_host_rsa_key"},
		"Deployment/demo-gitsplit-workhorse":   {"gitlab_workhorse_secret", "redis_url"},
		"Deployment/demo-gitsplit-rails-api":   rails,
		"Deployment/demo-gitsplit-sidekiq":     rails,
		"Job/demo-gitsplit-migrate":            rails,
	}
	in := install(t, "testdata/external-secrets.yaml")
	for name, pod := range in.pods {
		var have []string
		for _, v := range pod.Spec.Volumes {
			if v.Projected == nil {
				continue
			}
			for _, source := range v.Projected.Sources {
				for _, item := range source.Secret.Items {
					have = append(have, item.Path)
				}
			}
		}
		slices.Sort(have)
		if !slices.Equal(have, want[name]) {
			t.Errorf("%s knows %v, want %v", name, have, want[name])
		}
	}
}

// What points at something else points at what is there.
func TestReferences(t *testing.T) {
	t.Parallel()
	for _, file := range sets(t) {
		in := install(t, file)
		seen := map[string]int{}
		for _, o := range in.all {
			kind, faults := in.referenceFaults(o)
			seen[kind]++
			for _, fault := range faults {
				t.Errorf("%s: %s: %s", file, kind, fault)
			}
		}
		one := strings.Contains(file, "single-node")
		if wantHPA, wantPDB := 4, 5; !one && (seen["HorizontalPodAutoscaler"] != wantHPA || seen["PodDisruptionBudget"] != wantPDB || seen["NetworkPolicy"] != 6) ||
			one && seen["HorizontalPodAutoscaler"]+seen["PodDisruptionBudget"]+seen["NetworkPolicy"] > 0 {
			t.Errorf("%s: made %v", file, seen)
		}
		if wants := strings.Contains(file, "gateway"); wants != (seen["HTTPRoute"]*seen["TCPRoute"]*seen["Ingress"] == 1) {
			t.Errorf("%s: routes: %v", file, seen)
		}
	}
}

func (in installation) referenceFaults(o runtime.Object) (kind string, faults []string) {
	switch o := o.(type) {
	case *core.Service:
		return "Service", in.serviceFaults(o)
	case *autoscaling.HorizontalPodAutoscaler:
		target := o.Spec.ScaleTargetRef
		if _, ok := in.pods[target.Kind+"/"+target.Name]; !ok {
			faults = append(faults, "there is no "+target.Name)
		}
		return "HorizontalPodAutoscaler", faults
	case *policy.PodDisruptionBudget:
		return "PodDisruptionBudget", in.selectorFaults(o.Name, o.Spec.Selector)
	case *networking.NetworkPolicy:
		return "NetworkPolicy", in.policyFaults(o)
	case *networking.Ingress:
		backend := o.Spec.Rules[0].HTTP.Paths[0].Backend.Service
		if s := in.services[backend.Name]; s == nil || s.Spec.Ports[0].Name != backend.Port.Name {
			faults = append(faults, "leads nowhere")
		}
		return "Ingress", faults
	case *gateway.HTTPRoute:
		return "HTTPRoute", in.backendFaults(o.Spec.Rules[0].BackendRefs[0].BackendRef)
	case *experimental.TCPRoute:
		return "TCPRoute", in.backendFaults(o.Spec.Rules[0].BackendRefs[0])
	}
	return o.GetObjectKind().GroupVersionKind().Kind, nil
}

func (in installation) backendFaults(b gateway.BackendRef) []string {
	s := in.services[string(b.Name)]
	if s == nil || b.Port == nil || s.Spec.Ports[0].Port != *b.Port {
		return []string{fmt.Sprintf("leads to %v", b)}
	}
	return nil
}

func (in installation) serviceFaults(s *core.Service) (faults []string) {
	names := in.selected(labels.SelectorFromSet(s.Spec.Selector))
	if len(names) != 1 {
		return []string{fmt.Sprintf("%s selects %v", s.Name, names)}
	}
	for _, p := range s.Spec.Ports {
		if !port(in.pods[names[0]], p.TargetPort) {
			faults = append(faults, fmt.Sprintf("%s: %s has no port %v", s.Name, names[0], p.TargetPort))
		}
	}
	return faults
}

// selectorFaults wants the pods of one workload, which carries the selector's own name.
func (in installation) selectorFaults(name string, s *meta.LabelSelector) []string {
	selector, err := meta.LabelSelectorAsSelector(s)
	if err != nil {
		return []string{err.Error()}
	}
	if names := in.selected(selector); len(names) != 1 || !strings.HasSuffix(names[0], "/"+name) {
		return []string{fmt.Sprintf("%s selects %v", name, names)}
	}
	return nil
}

func (in installation) policyFaults(p *networking.NetworkPolicy) []string {
	faults := in.selectorFaults(p.Name, &p.Spec.PodSelector)
	selector := labels.SelectorFromSet(p.Spec.PodSelector.MatchLabels)
	for _, rule := range p.Spec.Ingress {
		for _, name := range in.selected(selector) {
			for _, want := range rule.Ports {
				if want.Port == nil || !port(in.pods[name], *want.Port) {
					faults = append(faults, fmt.Sprintf("%s lets in at %v", p.Name, want.Port))
				}
			}
		}
		faults = append(faults, in.peerFaults(p.Name, rule.From, nil)...)
	}
	for _, rule := range p.Spec.Egress {
		faults = append(faults, in.peerFaults(p.Name, rule.To, rule.Ports)...)
	}
	return faults
}

func (in installation) peerFaults(policy string, peers []networking.NetworkPolicyPeer, ports []networking.NetworkPolicyPort) (faults []string) {
	for _, peer := range peers {
		if peer.PodSelector == nil {
			continue
		}
		names := in.selected(labels.SelectorFromSet(peer.PodSelector.MatchLabels))
		if len(names) != 1 {
			faults = append(faults, fmt.Sprintf("%s speaks of %v", policy, names))
			continue
		}
		for _, want := range ports {
			if !port(in.pods[names[0]], *want.Port) {
				faults = append(faults, fmt.Sprintf("%s lets out to %v", policy, want.Port))
			}
		}
	}
	return faults
}
