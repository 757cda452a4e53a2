package transforms

import (
	"reflect"
	"slices"
	"unicode/utf8"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/interpreter"

	"github.com/kafkaws/kafkaws/record"
)

// View is a record as expressions see it. What they do not ask for is not looked
// at; what is costly to make, the value above all, is made once for all
// expressions that are given the same View. It is for one goroutine at a time,
// and for as long as the record stays as it is.
type View struct {
	record  *record.Record
	size    int
	key     ref.Val
	value   ref.Val
	headers ref.Val
}

// NewView returns a view of r.
func NewView(r *record.Record) *View { return &View{record: r, size: len(r.Topic) + r.Size()} }

// Decoded returns how many bytes of the record's value were decoded for expressions
// that have asked for it: all of them, or none.
func (v *View) Decoded() int {
	if v.value == nil {
		return 0
	}
	return len(v.record.Value)
}

func (v *View) keyValue() ref.Val {
	if v.key == nil {
		v.key = textValue(v.record.Key)
	}
	return v.key
}

func (v *View) valueValue() ref.Val {
	if v.value == nil {
		if isJSON(v.record.Value) {
			v.value = jsonValue(string(v.record.Value))
		} else {
			v.value = textValue(v.record.Value)
		}
	}
	return v.value
}

func (v *View) headersValue() ref.Val {
	if v.headers == nil {
		headers := make(map[string]any, len(v.record.Headers))
		for _, h := range v.record.Headers {
			headers[h.Key] = textValue(h.Value)
		}
		v.headers = types.NewStringInterfaceMap(types.DefaultTypeAdapter, headers)
	}
	return v.headers
}

// textValue is what bytes of a record are that no JSON is looked for in.
func textValue(b []byte) ref.Val {
	switch {
	case b == nil:
		return types.NullValue
	case utf8.Valid(b):
		return types.String(b)
	default:
		return types.Bytes(b)
	}
}

// fields are what an expression may ask of `record`.
var fields = map[string]struct {
	t   *types.Type
	get func(*View) ref.Val
}{
	"topic":     {types.StringType, func(v *View) ref.Val { return types.String(v.record.Topic) }},
	"partition": {types.IntType, func(v *View) ref.Val { return types.Int(v.record.Partition) }},
	"offset":    {types.IntType, func(v *View) ref.Val { return types.Int(v.record.Offset) }},
	"timestamp": {types.TimestampType, func(v *View) ref.Val { return types.Timestamp{Time: v.record.Timestamp} }},
	"key":       {types.DynType, (*View).keyValue},
	"headers":   {types.NewMapType(types.StringType, types.DynType), (*View).headersValue},
	"value":     {types.DynType, (*View).valueValue},
}

// viewType is the type of `record`; its name stands in messages.
var viewType = cel.ObjectType("Record")

// recordType tells CEL about the fields of viewType.
type recordType struct{ *types.Type }

// ReflectType implements types.StructTypeDescriptor.
func (recordType) ReflectType() reflect.Type { return reflect.TypeFor[*View]() }

// FieldNames implements types.StructTypeDescriptor.
func (recordType) FieldNames() []string {
	names := make([]string, 0, len(fields))
	for name := range fields {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// FindFieldType implements types.StructTypeDescriptor.
func (recordType) FindFieldType(name string) (*types.FieldType, bool) {
	field, ok := fields[name]
	if !ok {
		return nil, false
	}
	return &types.FieldType{
		Type:    field.t,
		IsSet:   func(v any) bool { return field.get(v.(*View)) != types.NullValue },
		GetFrom: func(v any) (any, error) { return field.get(v.(*View)), nil },
	}, true
}

// NewValue implements types.StructTypeDescriptor.
func (recordType) NewValue(types.Adapter, map[string]ref.Val) ref.Val {
	return types.NewErr("no record can be made")
}

// Adapt implements types.StructTypeDescriptor.
func (recordType) Adapt(types.Adapter, any) ref.Val {
	return types.NewErr("a record is no value by itself, only its fields are")
}

// activation is a View as what CEL finds variables in.
type activation View

// ResolveName implements interpreter.Activation.
func (a *activation) ResolveName(name string) (any, bool) { return (*View)(a), name == "record" }

// Parent implements interpreter.Activation.
func (*activation) Parent() interpreter.Activation { return nil }

// Interface guards.
var (
	_ types.StructTypeDescriptor = recordType{}
	_ interpreter.Activation     = (*activation)(nil)
)
