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
func jsonValue(text string) ref.Val {
	searchable := maxScans * len(text)
	return jsonResultValue(gjson.Parse(text), &searchable)
}

func jsonResultValue(v gjson.Result, searchable *int) ref.Val {
	if v.IsObject() {
		return &jsonObject{text: v, searchable: searchable}
	}
	if v.IsArray() {
		*searchable -= decodingScans * len(v.Raw)
	}
	return types.DefaultTypeAdapter.NativeToValue(jsonNative(v))
}

// jsonNative decodes all of a JSON value.
func jsonNative(v gjson.Result) any {
	if v.Type != gjson.JSON {
		return jsonScalar(v)
	}
	d := jsonDecoder{text: v.Raw}
	return d.value()
}

func jsonScalar(v gjson.Result) any {
	switch v.Type {
	case gjson.String:
		return v.Str
	case gjson.Number:
		return jsonNumber(v)
	case gjson.True, gjson.False:
		return v.Bool()
	case gjson.Null, gjson.JSON:
	}
	return nil
}

// jsonDecoder decodes a valid JSON text in one go. With gjson alone, a member
// would be read once to find its end and once more for each level that it is
// nested deeper.
type jsonDecoder struct {
	text string
	at   int
}

func (d *jsonDecoder) value() any {
	switch d.next() {
	case '{':
		object := make(map[string]any)
		for d.at++; d.next() != '}'; d.skip(',') {
			name := gjson.Parse(d.token()).Str
			d.skip(':')
			object[name] = d.value()
		}
		d.at++
		return object
	case '[':
		list := []any{}
		for d.at++; d.next() != ']'; d.skip(',') {
			list = append(list, d.value())
		}
		d.at++
		return list
	}
	return jsonScalar(gjson.Parse(d.token()))
}

// next skips white space and returns the byte behind it.
func (d *jsonDecoder) next() byte {
	for d.text[d.at] <= ' ' {
		d.at++
	}
	return d.text[d.at]
}

// skip skips white space, and c behind it if that is there.
func (d *jsonDecoder) skip(c byte) {
	if d.next() == c {
		d.at++
	}
}

// token returns what stands behind white space and is neither object nor list.
func (d *jsonDecoder) token() string {
	quoted := d.next() == '"'
	start := d.at
	if !quoted {
		for d.at < len(d.text) && d.text[d.at] > ' ' && d.text[d.at] != ',' && d.text[d.at] != ']' && d.text[d.at] != '}' {
			d.at++
		}
		return d.text[start:d.at]
	}
	for d.at++; d.text[d.at] != '"'; d.at++ {
		if d.text[d.at] == '\\' {
			d.at++
		}
	}
	d.at++
	return d.text[start:d.at]
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

const (
	// maxScans is how often a value may be searched from end to end. After that
	// objects in it are decoded.
	maxScans = 8
	// decodingScans is for how many scans decoding counts, by the time it takes.
	decodingScans = 8
)

// jsonObject is a JSON object in which most members are not looked at: one that
// is asked for is searched for in the text, which is several times as fast as to
// decode the object. It is decoded once something else is asked of it, or once the
// value that it is part of was searched for too long: what is nested deeply, or
// asked for again and again, would have the same text searched each time. So all
// that any number of expressions ask of one value costs no more than some scans
// and decoding it a few times.
type jsonObject struct {
	text       gjson.Result
	searchable *int // bytes that may still be searched, of all objects of the value
	decoded    traits.Mapper
}

// all returns the object decoded.
func (o *jsonObject) all() traits.Mapper {
	if o.decoded == nil {
		*o.searchable -= decodingScans * len(o.text.Raw)
		o.decoded = types.NewStringInterfaceMap(types.DefaultTypeAdapter, jsonNative(o.text).(map[string]any))
	}
	return o.decoded
}

// Find implements traits.Mapper.
func (o *jsonObject) Find(name ref.Val) (ref.Val, bool) {
	wanted, ok := name.(types.String)
	if o.decoded != nil || *o.searchable < len(o.text.Raw) || !ok {
		return o.all().Find(name)
	}
	*o.searchable -= len(o.text.Raw)
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
	return jsonResultValue(found, o.searchable), true
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
