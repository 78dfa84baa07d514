package config_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gitsplit/kit/config"
)

type inner struct {
	Grace config.Duration `toml:"grace_period" yaml:"grace_period"`
	Max   int             `toml:"max" yaml:"max"`
}

type sample struct {
	Listen string   `toml:"listen" yaml:"listen"`
	Token  string   `toml:"token" yaml:"token"`
	Debug  bool     `toml:"debug" yaml:"debug"`
	List   []string `toml:"list" yaml:"list"`
	Sub    inner    `toml:"sub" yaml:"sub"`
	Tables []inner  `toml:"tables" yaml:"tables"`
}

func (s *sample) Validate() error {
	if s.Sub.Max < 0 {
		return errors.New("sub.max: must not be negative")
	}
	return nil
}

func write(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func env(m map[string]string) func(string) (string, bool) {
	return func(k string) (string, bool) { v, ok := m[k]; return v, ok }
}

func TestLoad(t *testing.T) {
	t.Parallel()
	defaults := sample{Listen: ":1", Sub: inner{Grace: config.Duration(time.Second), Max: 3}}
	fromFile := sample{Listen: ":2", List: []string{"x"}, Sub: inner{Grace: config.Duration(10 * time.Second), Max: 3}}
	tomlFile := write(t, "c.toml", "listen = ':2'\nlist = ['x']\n[sub]\ngrace_period = '10s'\n")
	yamlFile := write(t, "c.yml", "listen: ':2'\nlist: [x]\nsub:\n  grace_period: 10\n")
	for _, tc := range []struct {
		name string
		opts config.Options
		want sample
	}{
		{"defaults", config.Options{}, defaults},
		{"empty file", config.Options{File: write(t, "c.yml", "")}, defaults},
		{"toml", config.Options{File: tomlFile}, fromFile},
		{"yaml", config.Options{File: yamlFile}, fromFile},
		{"environment over file", config.Options{File: tomlFile, EnvPrefix: "SRV", LookupEnv: env(map[string]string{
			"SRV_LISTEN": ":3", "SRV_SUB_GRACE_PERIOD": "1m", "SRV_SUB_MAX": "9", "SRV_LIST": "a, b", "SRV_DEBUG": "true",
			"SRV_TOKEN_FILE": write(t, "token", "s3cret\n"),
		})}, sample{Listen: ":3", Token: "s3cret", Debug: true, List: []string{"a", "b"}, Sub: inner{Grace: config.Duration(time.Minute), Max: 9}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			got := defaults
			if err := config.Load(&got, tc.opts); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestLoad_faults(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name  string
		opts  config.Options
		wants []string
	}{
		{"unknown keys in toml", config.Options{File: write(t, "c.toml", "bogus = 1\n[sub]\nodd = 2\n")},
			[]string{`unknown key "bogus"`, `unknown key "sub.odd"`}},
		{"unknown keys in yaml", config.Options{File: write(t, "c.yaml", "bogus: 1\nodd: 2\n")}, []string{"bogus", "odd"}},
		{"toml syntax", config.Options{File: write(t, "c.toml", "listen = \n")}, []string{"line 1"}},
		{"wrong type", config.Options{File: write(t, "c.toml", "[sub]\nmax = 'many'\n")}, []string{"max"}},
		{"bad duration", config.Options{File: write(t, "c.yml", "sub: {grace_period: soon}\n")}, []string{"soon"}},
		{"absent file", config.Options{File: "/nonexistent.toml"}, []string{"no such file"}},
		{"unknown kind", config.Options{File: write(t, "c.ini", "")}, []string{"unknown kind"}},
		{"environment, all at once", config.Options{EnvPrefix: "S", LookupEnv: env(map[string]string{
			"S_SUB_MAX": "many", "S_DEBUG": "perhaps", "S_TABLES": "x", "S_TOKEN": "a", "S_TOKEN_FILE": "/b",
			"S_LISTEN_FILE": "/nonexistent",
		})}, []string{"S_SUB_MAX: want a whole number", "S_DEBUG: want true or false", "S_TABLES: can be set in the file only",
			"not both", "S_LISTEN: open /nonexistent"}},
		{"validation", config.Options{EnvPrefix: "S", LookupEnv: env(map[string]string{"S_SUB_MAX": "-1"})}, []string{"sub.max: must not be negative"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			err := config.Load(&sample{}, tc.opts)
			if err == nil {
				t.Fatal("no error")
			}
			for _, want := range tc.wants {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error lacks %q:\n%v", want, err)
				}
			}
		})
	}
}
