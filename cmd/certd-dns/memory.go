package main

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"
	"unsafe"
)

// Many providers keep the identifiers of the records they set in maps of
// theirs, and can remove nothing without them. Present and cleanup are two
// processes, so these maps travel with the answer and the next request: dump
// takes them out of a provider, restore puts them into a fresh one.

const (
	maxMemory = 64 << 10 // bytes
	maxDepth  = 6        // of what is in a map, and of providers within providers
)

// dump returns the maps of provider as JSON; null if there is nothing in them.
func dump(provider any) (json.RawMessage, error) {
	found := map[string]any{}
	err := eachMap(provider, func(name string, m reflect.Value) error {
		if m.Len() > 0 {
			if value, ok := encode(m, 0); ok {
				found[name] = value
			}
		}
		return nil
	})
	if err != nil || len(found) == 0 {
		return nil, err
	}
	return json.Marshal(found)
}

// restore sets the maps of provider to what dump returned.
func restore(provider any, data json.RawMessage) error {
	var kept map[string]json.RawMessage
	if err := json.Unmarshal(data, &kept); err != nil {
		return err
	}
	return eachMap(provider, func(name string, m reflect.Value) error {
		if kept[name] == nil {
			return nil
		}
		return decode(m, kept[name], 0)
	})
}

// eachMap calls do for the maps by string that provider, a pointer to a struct,
// has itself or in a provider it is made of.
func eachMap(provider any, do func(name string, m reflect.Value) error) error {
	return walkMaps(reflect.ValueOf(provider), "", 0, do)
}

func walkMaps(v reflect.Value, prefix string, depth int, do func(string, reflect.Value) error) error {
	for v.Kind() == reflect.Pointer || v.Kind() == reflect.Interface {
		v = v.Elem()
	}
	if v.Kind() != reflect.Struct || !v.CanAddr() || depth > 2 {
		return nil
	}
	for i := range v.NumField() {
		field, name := open(v.Field(i)), prefix+v.Type().Field(i).Name
		switch field.Kind() {
		case reflect.Map:
			if field.Type().Key().Kind() != reflect.String {
				continue
			}
			if err := do(name, field); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		case reflect.Interface, reflect.Pointer:
			if isProvider(field) {
				if err := walkMaps(field, name+".", depth+1, do); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// isProvider reports whether a field holds another provider.
func isProvider(field reflect.Value) bool {
	if field.IsNil() || !field.CanInterface() {
		return false
	}
	_, ok := field.Interface().(interface {
		CleanUp(domain, token, keyAuth string) error
	})
	return ok
}

// open makes a field that is not exported readable and settable.
func open(field reflect.Value) reflect.Value {
	return reflect.NewAt(field.Type(), unsafe.Pointer(field.UnsafeAddr())).Elem()
}

// encode makes something of v that json.Marshal takes; ok is false for what a
// record's identifier is never made of.
func encode(v reflect.Value, depth int) (value any, ok bool) {
	if depth > maxDepth {
		return nil, false
	}
	switch v.Kind() {
	case reflect.String:
		return v.String(), true
	case reflect.Bool:
		return v.Bool(), true
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return strconv.FormatInt(v.Int(), 10), true // JSON's numbers are too short
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return strconv.FormatUint(v.Uint(), 10), true
	case reflect.Pointer:
		if v.IsNil() {
			return nil, true
		}
		return encode(v.Elem(), depth+1)
	case reflect.Map:
		all := map[string]any{}
		for entries := v.MapRange(); entries.Next(); {
			if value, ok := encode(addressable(entries.Value()), depth+1); ok && entries.Key().Kind() == reflect.String {
				all[entries.Key().String()] = value
			}
		}
		return all, true
	case reflect.Slice:
		if v.IsNil() {
			return nil, true
		}
		all := make([]any, 0, v.Len())
		for i := range v.Len() {
			value, ok := encode(v.Index(i), depth+1)
			if !ok {
				return nil, false
			}
			all = append(all, value)
		}
		return all, true
	case reflect.Struct:
		all := map[string]any{}
		for i := range v.NumField() {
			if value, ok := encode(open(v.Field(i)), depth+1); ok {
				all[v.Type().Field(i).Name] = value
			}
		}
		return all, true
	}
	return nil, false
}

// addressable copies v to where its fields can be opened.
func addressable(v reflect.Value) reflect.Value {
	c := reflect.New(v.Type()).Elem()
	c.Set(v)
	return c
}

// decode sets v to what encode made data of.
func decode(v reflect.Value, data json.RawMessage, depth int) error {
	if depth > maxDepth || string(data) == "null" {
		return nil
	}
	var err error
	switch v.Kind() {
	case reflect.String, reflect.Bool:
		return json.Unmarshal(data, v.Addr().Interface())
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return decodeNumber(v, data)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		return decode(v.Elem(), data, depth+1)
	case reflect.Map:
		var all map[string]json.RawMessage
		if err = json.Unmarshal(data, &all); err != nil {
			return err
		}
		if v.IsNil() {
			v.Set(reflect.MakeMap(v.Type()))
		}
		for key, one := range all {
			value := reflect.New(v.Type().Elem()).Elem()
			if err := decode(value, one, depth+1); err != nil {
				return err
			}
			v.SetMapIndex(reflect.ValueOf(key).Convert(v.Type().Key()), value)
		}
	case reflect.Slice:
		var all []json.RawMessage
		if err = json.Unmarshal(data, &all); err != nil {
			return err
		}
		v.Set(reflect.MakeSlice(v.Type(), len(all), len(all)))
		for i, one := range all {
			if err := decode(v.Index(i), one, depth+1); err != nil {
				return err
			}
		}
	case reflect.Struct:
		var all map[string]json.RawMessage
		if err = json.Unmarshal(data, &all); err != nil {
			return err
		}
		for i := range v.NumField() {
			if one := all[v.Type().Field(i).Name]; one != nil {
				if err := decode(open(v.Field(i)), one, depth+1); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func decodeNumber(v reflect.Value, data json.RawMessage) error {
	var text string
	if err := json.Unmarshal(data, &text); err != nil {
		return err
	}
	if v.CanInt() {
		n, err := strconv.ParseInt(text, 10, v.Type().Bits())
		v.SetInt(n)
		return err
	}
	n, err := strconv.ParseUint(text, 10, v.Type().Bits())
	v.SetUint(n)
	return err
}
