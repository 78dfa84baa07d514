package proto_test

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"

	"gitsplit/proto/go/gitalypb"
)

// fieldOptions are the field annotations that the contract names in "opts".
var fieldOptions = []protoreflect.ExtensionType{
	gitalypb.E_Storage, gitalypb.E_Repository, gitalypb.E_TargetRepository,
	gitalypb.E_AdditionalRepository, gitalypb.E_PartitionId,
}

// compiled returns the files of package gitaly, with what they import, as they
// are linked into this binary.
func compiled(tb testing.TB) *descriptorpb.FileDescriptorSet {
	tb.Helper()
	set := &descriptorpb.FileDescriptorSet{}
	protoregistry.GlobalFiles.RangeFiles(func(fd protoreflect.FileDescriptor) bool {
		set.File = append(set.File, protodesc.ToFileDescriptorProto(fd))
		return true
	})
	return set
}

// describe renders the surface of package gitaly in the terms of the contract.
func describe(tb testing.TB, set *descriptorpb.FileDescriptorSet) facts {
	tb.Helper()
	files, err := protodesc.NewFiles(set)
	if err != nil {
		tb.Fatalf("link descriptors: %v", err)
	}
	c := contract{Services: map[string]service{}, Messages: map[string]message{}, Enums: map[string]enum{}}
	files.RangeFilesByPackage("gitaly", func(fd protoreflect.FileDescriptor) bool {
		for i := range fd.Services().Len() {
			s := fd.Services().Get(i)
			c.Services[string(s.FullName())] = describeService(s)
		}
		for i := range fd.Extensions().Len() {
			x := fd.Extensions().Get(i)
			c.Options = append(c.Options, option{
				Extends: string(x.ContainingMessage().FullName()), Number: int(x.Number()),
				Name: string(x.Name()), Type: typeName(x),
			})
		}
		c.addMessages(fd.Messages())
		c.addEnums(fd.Enums())
		return true
	})
	return c.facts()
}

func describeService(s protoreflect.ServiceDescriptor) service {
	out := service{
		File:        path.Base(s.ParentFile().Path()),
		Intercepted: proto.GetExtension(s.Options(), gitalypb.E_Intercepted).(bool),
	}
	for i := range s.Methods().Len() {
		m := s.Methods().Get(i)
		row := method{
			Name:         string(m.Name()),
			Request:      string(m.Input().FullName()),
			Response:     string(m.Output().FullName()),
			ClientStream: m.IsStreamingClient(),
			ServerStream: m.IsStreamingServer(),
			Target:       annotated(m.Input(), gitalypb.E_TargetRepository),
			Additional:   annotated(m.Input(), gitalypb.E_AdditionalRepository),
			Storage:      annotated(m.Input(), gitalypb.E_Storage),
			Deprecated:   m.Options().(*descriptorpb.MethodOptions).GetDeprecated(),
		}
		if proto.HasExtension(m.Options(), gitalypb.E_OpType) {
			op := proto.GetExtension(m.Options(), gitalypb.E_OpType).(*gitalypb.OperationMsg)
			row.Op, row.Scope = op.GetOp().String(), op.GetScopeLevel().String()
		}
		out.Methods = append(out.Methods, row)
	}
	return out
}

func (c contract) addMessages(ms protoreflect.MessageDescriptors) {
	for i := range ms.Len() {
		m := ms.Get(i)
		if m.IsMapEntry() { // the field says it already
			continue
		}
		row := message{File: path.Base(m.ParentFile().Path())}
		for j := range m.ReservedRanges().Len() {
			r := m.ReservedRanges().Get(j)
			for n := r[0]; n < r[1]; n++ {
				row.Reserved = append(row.Reserved, fmt.Sprint(n))
			}
		}
		for j := range m.ReservedNames().Len() {
			row.ReservedNames = append(row.ReservedNames, string(m.ReservedNames().Get(j)))
		}
		for j := range m.Fields().Len() {
			row.Fields = append(row.Fields, describeField(m.Fields().Get(j)))
		}
		c.Messages[string(m.FullName())] = row
		c.addMessages(m.Messages())
		c.addEnums(m.Enums())
	}
}

func (c contract) addEnums(es protoreflect.EnumDescriptors) {
	for i := range es.Len() {
		e := es.Get(i)
		row := enum{File: path.Base(e.ParentFile().Path())}
		for j := range e.Values().Len() {
			v := e.Values().Get(j)
			row.Values = append(row.Values, value{Number: int(v.Number()), Name: string(v.Name())})
		}
		c.Enums[string(e.FullName())] = row
	}
}

func describeField(f protoreflect.FieldDescriptor) field {
	out := field{
		Number:     int(f.Number()),
		Name:       string(f.Name()),
		Type:       typeName(f),
		Optional:   f.HasOptionalKeyword(),
		Deprecated: f.Options().(*descriptorpb.FieldOptions).GetDeprecated(),
	}
	switch {
	case f.IsMap():
		out.Label = "map"
	case f.IsList():
		out.Label = "repeated"
	}
	if o := f.ContainingOneof(); o != nil && !o.IsSynthetic() {
		out.Oneof = string(o.Name())
	}
	for _, x := range fieldOptions {
		if isSet(f, x) {
			out.Opts = append(out.Opts, string(x.TypeDescriptor().Name()))
		}
	}
	slices.Sort(out.Opts)
	return out
}

// typeName gives a scalar's keyword, a full message or enum name, or map<k,v>.
func typeName(f protoreflect.FieldDescriptor) string {
	switch {
	case f.IsMap():
		return "map<" + typeName(f.MapKey()) + "," + typeName(f.MapValue()) + ">"
	case f.Message() != nil:
		return string(f.Message().FullName())
	case f.Enum() != nil:
		return string(f.Enum().FullName())
	}
	return f.Kind().String()
}

// annotated finds the dotted path of the field of m, or of a message inside it,
// that carries the option; "" when there is none. A wrapper such as ObjectPool
// leads on to the repository in it.
func annotated(m protoreflect.MessageDescriptor, x protoreflect.ExtensionType) string {
	for i := range m.Fields().Len() {
		f := m.Fields().Get(i)
		if isSet(f, x) {
			return strings.TrimSuffix(string(f.Name())+"."+wrapped(f.Message()), ".")
		}
		if f.Message() == nil || !strings.HasPrefix(string(f.Message().FullName()), string(m.FullName())) { // nested, or named after it
			continue
		}
		if p := annotated(f.Message(), x); p != "" {
			return string(f.Name()) + "." + p
		}
	}
	return ""
}

// wrapped names the field of a wrapper message that holds its repository.
func wrapped(m protoreflect.MessageDescriptor) string {
	if m == nil {
		return ""
	}
	return annotated(m, gitalypb.E_Repository)
}

func isSet(f protoreflect.FieldDescriptor, x protoreflect.ExtensionType) bool {
	return proto.HasExtension(f.Options(), x) && proto.GetExtension(f.Options(), x).(bool)
}
