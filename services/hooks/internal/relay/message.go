package relay

import (
	"errors"

	"google.golang.org/protobuf/encoding/protowire"

	"gitsplit/kit/hookpayload/plain"
)

// The messages of HookService that a hook sends and gets. The package with their types
// registers all of gitaly's when a program starts.

// message is one being written.
type message []byte

// with adds a field of bytes, text or a message, which is left out when it is empty.
func with[T ~[]byte | ~string](m message, field protowire.Number, v T) message {
	if len(v) == 0 {
		return m
	}
	return always(m, field, v)
}

func always[T ~[]byte | ~string](m message, field protowire.Number, v T) message {
	return protowire.AppendString(protowire.AppendTag(m, field, protowire.BytesType), string(v))
}

// list adds each of several values.
func (m message) list(field protowire.Number, values []string) message {
	for _, v := range values {
		m = always(m, field, v)
	}
	return m
}

// number adds a number, which is left out when it is 0.
func (m message) number(field protowire.Number, v uint64) message {
	if v == 0 {
		return m
	}
	return protowire.AppendVarint(protowire.AppendTag(m, field, protowire.VarintType), v)
}

// repository is a gitaly.Repository.
func repository(r plain.Repository) message {
	m := with(nil, 2, r.StorageName)
	m = with(m, 3, r.RelativePath)
	m = with(m, 4, r.GitObjectDirectory).list(5, r.GitAlternateObjectDirectories)
	m = with(m, 6, r.GLRepository)
	return with(m, 8, r.GLProjectPath)
}

// answer is what all hooks but pack-objects get, again and again.
type answer struct {
	stdout, stderr []byte
	ended          bool // the last one, with the exit status
	status         int32
}

var errAnswer = errors.New("gitaly's answer is not to be understood")

func parseAnswer(raw []byte) (a answer, err error) {
	err = fields(raw, func(field protowire.Number, kind protowire.Type, value []byte) error {
		if kind != protowire.BytesType {
			return nil
		}
		v, _ := protowire.ConsumeBytes(value)
		switch field {
		case 1:
			a.stdout = v
		case 2:
			a.stderr = v
		case 3:
			a.ended = true
			return fields(v, a.exit)
		}
		return nil
	})
	return a, err
}

func (a *answer) exit(field protowire.Number, kind protowire.Type, value []byte) error {
	if field == 1 && kind == protowire.VarintType {
		n, _ := protowire.ConsumeVarint(value)
		a.status = int32(n)
	}
	return nil
}

// fields calls use with each field of a message.
func fields(raw []byte, use func(protowire.Number, protowire.Type, []byte) error) error {
	for len(raw) > 0 {
		field, kind, tag := protowire.ConsumeTag(raw)
		if tag < 0 {
			return errAnswer
		}
		size := protowire.ConsumeFieldValue(field, kind, raw[tag:])
		if size < 0 {
			return errAnswer
		}
		if err := use(field, kind, raw[tag:tag+size]); err != nil {
			return err
		}
		raw = raw[tag+size:]
	}
	return nil
}
