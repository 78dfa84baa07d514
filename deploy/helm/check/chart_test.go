package check

import (
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	"helm.sh/helm/v3/pkg/lint"
	"helm.sh/helm/v3/pkg/lint/support"
	"helm.sh/helm/v3/pkg/releaseutil"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/kubernetes/scheme"
	gateway "sigs.k8s.io/gateway-api/apis/v1"
	experimental "sigs.k8s.io/gateway-api/apis/v1alpha2"
)

const (
	chartDir  = "../gitsplit"
	release   = "demo"
	namespace = "git"
	fullname  = "demo-gitsplit"
)

// sets are the value files of testdata, each a way to install.
func sets(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("testdata/*.yaml")
	if err != nil || len(files) < 4 {
		t.Fatalf("testdata has %v, %v", files, err)
	}
	return files
}

func values(t *testing.T, file string) chartutil.Values {
	t.Helper()
	v, err := chartutil.ReadValuesFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// render returns the text of each template, with the schema of the values checked.
// cluster answers lookups; nil is no cluster.
func render(v chartutil.Values, cluster engine.ClientProvider) (map[string]string, error) {
	c, err := loader.LoadDir(chartDir)
	if err != nil {
		return nil, err
	}
	options := chartutil.ReleaseOptions{Name: release, Namespace: namespace, Revision: 1, IsInstall: true}
	all, err := chartutil.ToRenderValues(c, v, options, chartutil.DefaultCapabilities)
	if err != nil {
		return nil, err
	}
	if cluster == nil {
		return engine.Render(c, all)
	}
	return engine.RenderWithClientProvider(c, all, cluster)
}

// objects decodes what was rendered into the types of Kubernetes. A field that they
// do not have is an error.
func objects(t *testing.T, files map[string]string) []runtime.Object {
	t.Helper()
	known := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{scheme.AddToScheme, gateway.Install, experimental.Install} {
		if err := add(known); err != nil {
			t.Fatal(err)
		}
	}
	decoder := serializer.NewCodecFactory(known, serializer.EnableStrict).UniversalDeserializer()
	var list []runtime.Object
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if !strings.HasSuffix(name, ".yaml") {
			continue
		}
		for _, text := range releaseutil.SplitManifests(files[name]) {
			o, _, err := decoder.Decode([]byte(text), nil, nil)
			if err != nil {
				t.Errorf("%s: %v in:\n%s", name, err, text)
				continue
			}
			list = append(list, o)
		}
	}
	return list
}

func TestLint(t *testing.T) {
	t.Parallel()
	for _, file := range sets(t) {
		l := lint.AllWithKubeVersionAndSchemaValidation(chartDir, values(t, file), namespace, nil, false)
		for _, m := range l.Messages {
			if m.Severity > support.InfoSev {
				t.Errorf("%s: %v", file, m)
			}
		}
	}
}

// What is wrong is refused with its name, before anything is made.
func TestFaults(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, want string
		change     func(v map[string]any)
	}{
		{"no address", "externalURL", func(v map[string]any) { delete(v, "externalURL") }},
		{"a path in the address", "externalURL", func(v map[string]any) { v["externalURL"] = "https://h/path" }},
		{"no database", "postgresql", func(v map[string]any) { delete(v, "postgresql") }},
		{"two databases", "postgresql", func(v map[string]any) {
			v["postgresql"] = map[string]any{"url": "postgres://h/d", "existingSecret": "s"}
		}},
		{"no Redis", "redis", func(v map[string]any) { delete(v, "redis") }},
		{"nowhere for objects", "objectStorage", func(v map[string]any) { delete(v, "objectStorage") }},
		{"no Gateway", "gateway.name", func(v map[string]any) { v["gateway"] = map[string]any{"enabled": true} }},
		{"a redirect to nowhere", "redirectToHTTPS", func(v map[string]any) {
			v["externalURL"], v["http"] = "http://h", map[string]any{"redirectToHTTPS": true}
		}},
		{"a setting that is not there", "replica", func(v map[string]any) { v["gitaly"] = map[string]any{"replica": 2} }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			v := values(t, "testdata/external-secrets.yaml")
			tc.change(v)
			if _, err := render(v, nil); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("no %q in the error: %v", tc.want, err)
			}
		})
	}
}

// The notes are shown once, to somebody who has nothing yet.
func TestNotes(t *testing.T) {
	t.Parallel()
	files, err := render(values(t, "testdata/external-secrets.yaml"), nil)
	if err != nil {
		t.Fatal(err)
	}
	notes := files["gitsplit/templates/NOTES.txt"]
	for _, want := range []string{"https://git.example.org", "ssh://git@ssh.example.org:2222", "get secret shared", "kubectl -n git"} {
		if !strings.Contains(notes, want) {
			t.Errorf("the notes have no %q:\n%s", want, notes)
		}
	}
}
