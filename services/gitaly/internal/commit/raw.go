package commit

import "strings"

// Raw is a commit object in parts, byte for byte: what is needed to write it anew.
type Raw struct {
	Tree      string
	Parents   []string
	Author    string // name, address, time and zone
	Committer string
	Encoding  string // of the message; "" is UTF-8
	Message   []byte
}

// Split reads a raw commit object. Signatures and other headers are left out.
func Split(raw []byte) (Raw, error) {
	var c Raw
	body, err := headers(raw, func(key, value string) {
		switch key {
		case "tree":
			c.Tree = value
		case "parent":
			c.Parents = append(c.Parents, value)
		case "author":
			c.Author = value
		case "committer":
			c.Committer = value
		case "encoding":
			c.Encoding = value
		}
	})
	c.Message = body
	return c, err
}

// Bytes is the object's content.
func (c Raw) Bytes() []byte {
	var b strings.Builder
	b.WriteString("tree " + c.Tree + "\n")
	for _, p := range c.Parents {
		b.WriteString("parent " + p + "\n")
	}
	b.WriteString("author " + c.Author + "\ncommitter " + c.Committer + "\n")
	if c.Encoding != "" {
		b.WriteString("encoding " + c.Encoding + "\n")
	}
	b.WriteString("\n")
	b.Write(c.Message)
	return []byte(b.String())
}
