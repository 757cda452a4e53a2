package transforms

import (
	"reflect"
	"strconv"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
	"github.com/tidwall/gjson"
)

// jsonValue returns the CEL value of a JSON text, which must be valid.
func jsonValue(text string) ref.Val { return jsonResultValue(gjson.Parse(text)) }

func jsonResultValue(v gjson.Result) ref.Val {
	if v.IsObject() {
		return &jsonObject{text: v}
	}
	return types.DefaultTypeAdapter.NativeToValue(jsonNative(v))
}

// jsonNative decodes all of a JSON value.
func jsonNative(v gjson.Result) any {
	switch v.Type {
	case gjson.String:
		return v.Str
	case gjson.Number:
		return jsonNumber(v)
	case gjson.True, gjson.False:
		return v.Bool()
	case gjson.JSON:
		if v.IsObject() {
			object := make(map[string]any)
			v.ForEach(func(name, member gjson.Result) bool {
				object[name.Str] = jsonNative(member)
				return true
			})
			return object
		}
		list := []any{}
		v.ForEach(func(_, element gjson.Result) bool {
			list = append(list, jsonNative(element))
			return true
		})
		return list
	case gjson.Null:
	}
	return nil
}

// exactIntegers is from where on a double does not hold every integer.
const exactIntegers = 1 << 53

// jsonNumber is a double, except for an integer that would not be the same then,
// such as an ID of 64 bits.
func jsonNumber(v gjson.Result) any {
	if -exactIntegers < v.Num && v.Num < exactIntegers {
		return v.Num
	}
	n, err := strconv.ParseInt(v.Raw, 10, 64)
	if err != nil || v.Num < 1<<63 && int64(v.Num) == n {
		return v.Num
	}
	return n
}

// maxScans is how often one object is searched before it is decoded.
const maxScans = 8

// jsonObject is a JSON object in which most members are not looked at: one that
// is asked for is searched for in the text, which is several times as fast as to
// decode the object. It is decoded once something else is asked of it, or the
// same for too often, so that no expression can be made slow by a large record.
type jsonObject struct {
	text    gjson.Result
	scans   int
	decoded traits.Mapper
}

// all returns the object decoded.
func (o *jsonObject) all() traits.Mapper {
	if o.decoded == nil {
		o.decoded = types.NewStringInterfaceMap(types.DefaultTypeAdapter, jsonNative(o.text).(map[string]any))
	}
	return o.decoded
}

// Find implements traits.Mapper.
func (o *jsonObject) Find(name ref.Val) (ref.Val, bool) {
	wanted, ok := name.(types.String)
	if o.decoded != nil || o.scans == maxScans || !ok {
		return o.all().Find(name)
	}
	o.scans++
	var found gjson.Result
	o.text.ForEach(func(name, member gjson.Result) bool {
		if name.Str == string(wanted) {
			found = member
		}
		return true // of equal names the last one counts
	})
	if !found.Exists() {
		return nil, false
	}
	return jsonResultValue(found), true
}

// Get implements traits.Indexer.
func (o *jsonObject) Get(name ref.Val) ref.Val {
	if member, ok := o.Find(name); ok {
		return member
	}
	return types.ValOrErr(name, "no such key: %v", name)
}

// Contains implements traits.Container.
func (o *jsonObject) Contains(name ref.Val) ref.Val {
	if types.IsUnknownOrError(name) {
		return name
	}
	_, ok := o.Find(name)
	return types.Bool(ok)
}

// Iterator implements traits.Iterable.
func (o *jsonObject) Iterator() traits.Iterator { return o.all().Iterator() }

// Size implements traits.Sizer.
func (o *jsonObject) Size() ref.Val { return o.all().Size() }

// Equal implements ref.Val.
func (o *jsonObject) Equal(other ref.Val) ref.Val { return o.all().Equal(other) }

// ConvertToNative implements ref.Val.
func (o *jsonObject) ConvertToNative(t reflect.Type) (any, error) { return o.all().ConvertToNative(t) }

// ConvertToType implements ref.Val.
func (o *jsonObject) ConvertToType(t ref.Type) ref.Val {
	switch t {
	case types.MapType:
		return o
	case types.TypeType:
		return types.MapType
	}
	return types.NewErr("type conversion error from '%s' to '%s'", types.MapType, t)
}

// Type implements ref.Val.
func (*jsonObject) Type() ref.Type { return types.MapType }

// Value implements ref.Val.
func (o *jsonObject) Value() any { return o.all().Value() }

// Interface guards.
var (
	_ ref.Val       = (*jsonObject)(nil)
	_ traits.Mapper = (*jsonObject)(nil)
)
