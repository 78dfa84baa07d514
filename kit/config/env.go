package config

import (
	"encoding"
	"fmt"
	"os"
	"reflect"
	"strconv"
	"strings"
)

// applyEnv lays the environment over dst and returns every fault.
func applyEnv(dst any, o Options) []error {
	e := envReader{lookup: o.LookupEnv}
	e.walk(reflect.ValueOf(dst).Elem(), o.EnvPrefix)
	return e.faults
}

type envReader struct {
	lookup func(string) (string, bool)
	faults []error
}

func (e *envReader) walk(v reflect.Value, name string) {
	t := v.Type()
	for i := range t.NumField() {
		field := t.Field(i)
		if !field.IsExported() {
			continue
		}
		key, inline := keyOf(field)
		if key == "-" {
			continue
		}
		child := name
		if !inline {
			child = name + "_" + strings.ToUpper(strings.ReplaceAll(key, "-", "_"))
		}
		e.field(v.Field(i), child)
	}
}

func (e *envReader) field(v reflect.Value, name string) {
	if _, isText := v.Addr().Interface().(encoding.TextUnmarshaler); v.Kind() == reflect.Struct && !isText {
		e.walk(v, name)
		return
	}
	value, ok, err := e.value(name)
	if err == nil && ok {
		err = set(v, value)
	}
	if err != nil {
		e.faults = append(e.faults, fmt.Errorf("environment %s: %w", name, err))
	}
}

func (e *envReader) value(name string) (string, bool, error) {
	value, ok := e.lookup(name)
	path, fromFile := e.lookup(name + "_FILE")
	if !fromFile || path == "" {
		return value, ok, nil
	}
	if ok {
		return "", false, fmt.Errorf("set either %s or %s_FILE, not both", name, name)
	}
	raw, err := os.ReadFile(path) //nolint:gosec // the operator names the file
	if err != nil {
		return "", false, err
	}
	return strings.TrimSpace(string(raw)), true, nil
}

// set parses s into v. Its errors do not repeat s, which may be a secret.
func set(v reflect.Value, s string) error {
	if u, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok {
		return u.UnmarshalText([]byte(s))
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(s)
	case reflect.Bool:
		b, err := strconv.ParseBool(s)
		if err != nil {
			return fmt.Errorf("want true or false")
		}
		v.SetBool(b)
	case reflect.Int, reflect.Int32, reflect.Int64:
		n, err := strconv.ParseInt(s, 10, v.Type().Bits())
		if err != nil {
			return fmt.Errorf("want a whole number")
		}
		v.SetInt(n)
	case reflect.Slice:
		if v.Type().Elem().Kind() != reflect.String {
			return fmt.Errorf("can be set in the file only")
		}
		v.Set(reflect.ValueOf(splitList(s)).Convert(v.Type()))
	default:
		return fmt.Errorf("can be set in the file only")
	}
	return nil
}

func splitList(s string) []string {
	list := []string{}
	for _, part := range strings.Split(s, ",") {
		if part = strings.TrimSpace(part); part != "" {
			list = append(list, part)
		}
	}
	return list
}

// keyOf returns the field's key in the file, and whether its own fields belong to
// the level above.
func keyOf(f reflect.StructField) (key string, inline bool) {
	for _, format := range []string{"toml", "yaml"} {
		tag, ok := f.Tag.Lookup(format)
		if !ok {
			continue
		}
		name, opts, _ := strings.Cut(tag, ",")
		if strings.Contains(opts, "inline") {
			return "", true
		}
		if name != "" {
			return name, false
		}
	}
	return strings.ToLower(f.Name), f.Anonymous
}
