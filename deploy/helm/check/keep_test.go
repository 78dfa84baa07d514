package check

import (
	"maps"
	"testing"

	core "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/fake"
	"k8s.io/client-go/kubernetes/scheme"
)

// cluster answers the lookups of templates with the objects that it has.
type cluster struct{ client dynamic.Interface }

func (c cluster) GetClientFor(apiVersion, kind string) (dynamic.NamespaceableResourceInterface, bool, error) {
	gv, err := schema.ParseGroupVersion(apiVersion)
	return c.client.Resource(gv.WithResource(map[string]string{"Secret": "secrets"}[kind])), true, err
}

// Secrets are made once and kept: an upgrade finds them in the cluster, and removal
// leaves them there.
func TestSecretsKept(t *testing.T) {
	t.Parallel()
	v := values(t, "testdata/defaults.yaml")
	first := secretsOf(t, v, fake.NewSimpleDynamicClient(scheme.Scheme))
	var there []runtime.Object
	for name, s := range first {
		if name != fullname+"-connections" && s.Annotations["helm.sh/resource-policy"] != "keep" {
			t.Errorf("%s goes with the release", name)
		}
		s.Namespace = namespace
		fields, err := runtime.DefaultUnstructuredConverter.ToUnstructured(s)
		if err != nil {
			t.Fatal(err)
		}
		there = append(there, &unstructured.Unstructured{Object: fields})
	}
	second := secretsOf(t, v, fake.NewSimpleDynamicClient(scheme.Scheme, there...))
	if len(first) != 3 || len(second) != 3 {
		t.Fatalf("made %d Secrets, then %d, want 3", len(first), len(second))
	}
	for name, s := range first {
		if !maps.EqualFunc(s.Data, second[name].Data, func(a, b []byte) bool { return string(a) == string(b) }) {
			t.Errorf("%s changed", name)
		}
	}
}

func secretsOf(t *testing.T, v map[string]any, client dynamic.Interface) map[string]*core.Secret {
	t.Helper()
	files, err := render(v, cluster{client})
	if err != nil {
		t.Fatal(err)
	}
	secrets := map[string]*core.Secret{}
	for _, o := range objects(t, files) {
		if s, ok := o.(*core.Secret); ok {
			secrets[s.Name] = s
		}
	}
	return secrets
}
