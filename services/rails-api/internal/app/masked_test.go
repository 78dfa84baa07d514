package app

import "testing"

func TestWithoutPassword(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]string{
		"postgres://git:hush@db/gitsplit?host=/run":      "postgres://git:xxxxx@db/gitsplit?host=%2Frun",
		"postgres:///gitsplit?password=hush&sslmode=off": "postgres:///gitsplit?password=xxxxx&sslmode=off",
		"postgres:///gitsplit?sslpassword=hush":          "postgres:///gitsplit?sslpassword=xxxxx",
		"host=db password=hush":                          "[FILTERED]",
		"postgres://%zz:hush@db":                         "[FILTERED]",
		"redis://:hush@cache:6379/1":                     "redis://:xxxxx@cache:6379/1",
		"unix:///run/redis.sock?password=hush":           "unix:///run/redis.sock?password=xxxxx",
		"unix:///run/redis.sock":                         "unix:///run/redis.sock",
	} {
		if got := withoutPassword(address); got != want {
			t.Errorf("%s is logged as %s, want %s", address, got, want)
		}
	}
}
