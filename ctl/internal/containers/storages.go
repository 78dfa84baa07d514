package containers

import (
	"fmt"
	"strconv"
	"strings"
)

// Variables, as they are named in messages.
const (
	VarStorages = "GITSPLIT_STORAGES"
	VarProxied  = "GITSPLIT_PROXIED"
	// VarCompose is the command that reaches these containers from a checkout.
	VarCompose = "GITSPLIT_COMPOSE"
)

// Storage is one gitaly server.
type Storage struct {
	// Name is the storage's name, in gitaly's configuration too.
	Name string
	// Address is its host:port.
	Address string
	// Weight is its share of new projects.
	Weight int
}

const defaultWeight = 100

// parseStorages reads a list of name=host:port or name=host:port*weight, divided by
// spaces or commas. An empty one is the storage of docker-compose.yml.
func parseStorages(text string) ([]Storage, error) {
	fields := strings.FieldsFunc(text, func(r rune) bool { return r == ' ' || r == ',' || r == '\n' })
	if len(fields) == 0 {
		return []Storage{{Name: "default", Address: "gitaly:8075", Weight: defaultWeight}}, nil
	}
	seen := map[string]bool{}
	var list []Storage
	for _, field := range fields {
		s, err := parseStorage(field)
		if err == nil && seen[s.Name] {
			err = fmt.Errorf("%q is there twice", s.Name)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", VarStorages, err)
		}
		seen[s.Name] = true
		list = append(list, s)
	}
	return list, nil
}

func parseStorage(field string) (Storage, error) {
	name, rest, _ := strings.Cut(field, "=")
	address, weight, weighted := strings.Cut(rest, "*")
	s := Storage{Name: name, Address: address, Weight: defaultWeight}
	if !plainName(name) {
		return s, fmt.Errorf("%q: want name=host:port or name=host:port*weight", field)
	}
	if err := checkHostPort(address); err != nil {
		return s, err
	}
	if weighted {
		n, err := strconv.ParseUint(weight, 10, 16)
		if err != nil {
			return s, fmt.Errorf("%q: the weight is not a number from 0 to 65535", field)
		}
		s.Weight = int(n)
	}
	return s, nil
}

// plainName reports whether text needs no quoting in a file name, TOML or YAML.
func plainName(text string) bool {
	odd := func(r rune) bool {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
		return !letter && r != '.' && r != '-' && r != '_'
	}
	return text != "" && text[0] != '-' && text[0] != '.' && !strings.ContainsFunc(text, odd)
}

func digits(text string) bool {
	return !strings.ContainsFunc(text, func(r rune) bool { return r < '0' || r > '9' })
}
