package logging_test

import (
	"bytes"
	"encoding/json"
	"testing"

	"gitsplit/kit/correlation"
	"gitsplit/kit/logging"
)

func TestRedis(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	logging.Redis(&out, "sidekiq").Printf(correlation.With(t.Context(), "0123456789abcdef0123456789abcdef"), "failed to dial %q\n", "x")
	var line map[string]string
	if err := json.Unmarshal(out.Bytes(), &line); err != nil {
		t.Fatalf("%v in %s", err, &out)
	}
	if line["level"] != "WARN" || line["service"] != "sidekiq" || line["error"] != "failed to dial \"x\"\n" || line["correlation_id"] == "" {
		t.Errorf("line %v", line)
	}
}
