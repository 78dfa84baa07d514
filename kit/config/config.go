// Package config fills a service's Config struct: its defaults, then a TOML or
// YAML file, then the environment. Unknown keys and bad values are errors, and
// all of them are reported at once.
//
// A key `a.b` of the file is the variable PREFIX_A_B; PREFIX_A_B_FILE names a
// file that holds the value instead, for secrets.
package config

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"go.yaml.in/yaml/v3"
)

// Options says where values come from.
type Options struct {
	File      string                      // .toml, .yml or .yaml; "" reads no file
	EnvPrefix string                      // "GITALY" for GITALY_SOCKET_PATH
	LookupEnv func(string) (string, bool) // nil: the environment is not read
}

// Validator is a Config that can judge its own values. Validate reports every
// fault, joined, each with its key.
type Validator interface{ Validate() error }

// Load fills dst, a pointer to a struct whose fields hold the defaults and carry
// `toml` or `yaml` tags. A field without a value in file and environment keeps its
// default. The error joins all faults, one per line.
func Load(dst any, o Options) error {
	var faults []error
	if o.File != "" {
		if err := loadFile(dst, o.File); err != nil {
			faults = append(faults, err)
		}
	}
	if o.LookupEnv != nil {
		faults = append(faults, applyEnv(dst, o)...)
	}
	if len(faults) > 0 {
		return errors.Join(faults...)
	}
	if v, ok := dst.(Validator); ok {
		return v.Validate()
	}
	return nil
}

func loadFile(dst any, path string) error {
	f, err := os.Open(path) //nolint:gosec // the operator names the file
	if err != nil {
		return fmt.Errorf("read configuration: %w", err)
	}
	err = decode(dst, f, filepath.Ext(path))
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

func decode(dst any, r io.Reader, ext string) error {
	switch ext {
	case ".toml":
		return tomlError(toml.NewDecoder(r).DisallowUnknownFields().Decode(dst))
	case ".yml", ".yaml":
		d := yaml.NewDecoder(r)
		d.KnownFields(true)
		err := d.Decode(dst)
		if errors.Is(err, io.EOF) { // an empty file sets nothing
			return nil
		}
		return err
	}
	return fmt.Errorf("unknown kind of configuration file %q: want .toml, .yml or .yaml", ext)
}

// tomlError turns the library's errors, which show a source excerpt (and so
// perhaps a secret), into positions and keys.
func tomlError(err error) error {
	var strict *toml.StrictMissingError
	if errors.As(err, &strict) {
		var faults []error
		for i := range strict.Errors {
			line, _ := strict.Errors[i].Position()
			faults = append(faults, fmt.Errorf("line %d: unknown key %q", line, strings.Join(strict.Errors[i].Key(), ".")))
		}
		return errors.Join(faults...)
	}
	var syntax *toml.DecodeError
	if errors.As(err, &syntax) {
		line, col := syntax.Position()
		return fmt.Errorf("line %d, column %d: key %q: %w", line, col, strings.Join(syntax.Key(), "."), err)
	}
	return err
}
