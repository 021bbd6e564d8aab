package main

import (
	"encoding/json"
	"reflect"
	"testing"

	"github.com/go-acme/lego/v4/providers/dns/cloudflare"
	"github.com/go-acme/lego/v4/providers/dns/cloudru"
	"github.com/go-acme/lego/v4/providers/dns/com35"
	"github.com/go-acme/lego/v4/providers/dns/edgeone"
	"github.com/go-acme/lego/v4/providers/dns/gandi"
	"github.com/go-acme/lego/v4/providers/dns/gravity"
	"github.com/go-acme/lego/v4/providers/dns/rfc2136"
	"github.com/go-acme/lego/v4/providers/dns/shellrent"
)

// What a provider keeps of its records reaches another instance of it, whatever
// type the map has.
func TestMemory(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		first, second any
	}{
		{&cloudflare.DNSProvider{}, &cloudflare.DNSProvider{}},
		{&cloudru.DNSProvider{}, &cloudru.DNSProvider{}},
		{&edgeone.DNSProvider{}, &edgeone.DNSProvider{}},
		{&gandi.DNSProvider{}, &gandi.DNSProvider{}},
		{&gravity.DNSProvider{}, &gravity.DNSProvider{}},
		{&shellrent.DNSProvider{}, &shellrent.DNSProvider{}},
	} {
		if _, err := dump(c.first); err != nil {
			t.Errorf("%T: dump of an empty provider: %v", c.first, err)
		}
		maps := 0
		fill := func(name string, m reflect.Value) error {
			maps++
			m.Set(reflect.MakeMap(m.Type()))
			value := reflect.New(m.Type().Elem()).Elem()
			stuff(value, name)
			m.SetMapIndex(reflect.ValueOf("token"), value)
			return nil
		}
		if err := eachMap(c.first, fill); err != nil || maps == 0 {
			t.Errorf("%T has %d maps: %v", c.first, maps, err)
		}
		data, err := dump(c.first)
		if err != nil || len(data) == 0 {
			t.Errorf("%T: dump gave %q and the error %v", c.first, data, err)
			continue
		}
		if err := restore(c.second, data); err != nil {
			t.Errorf("%T: restore: %v", c.second, err)
		}
		if !reflect.DeepEqual(c.first, c.second) {
			t.Errorf("%T: restored from %s it is %+v, want %+v", c.first, data, c.second, c.first)
		}
	}
}

// stuff puts something other than zero into v.
func stuff(v reflect.Value, name string) {
	switch v.Kind() {
	case reflect.String:
		v.SetString("id of " + name)
	case reflect.Int, reflect.Int64:
		v.SetInt(1<<62 + 1)
	case reflect.Uint, reflect.Uint64:
		v.SetUint(1<<63 + 1)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		stuff(v.Elem(), name)
	case reflect.Struct:
		for i := range v.NumField() {
			stuff(open(v.Field(i)), name)
		}
	}
}

// A provider that is made of another has its maps in that.
func TestMemoryOfWrapped(t *testing.T) {
	t.Parallel()
	provider, err := com35.NewDNSProviderConfig(&com35.Config{Username: "u", Password: "p"})
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	_ = eachMap(provider, func(string, reflect.Value) error { found++; return nil })
	if found == 0 {
		t.Error("the map of the provider that com35 is made of was not found")
	}
}

func TestMemoryOfNothing(t *testing.T) {
	t.Parallel()
	if data, err := dump(&updater{config: &rfc2136.Config{}}); data != nil || err != nil {
		t.Errorf("a provider without maps: got %s and %v, want nothing", data, err)
	}
}

// Whatever stands in the journal of records, restore ends with or without an error.
func FuzzRestore(f *testing.F) {
	f.Add([]byte(`{"recordIDs":{"token":"1"}}`))
	f.Add([]byte(`{"inProgressFQDNs":{"x":{"zoneID":"1","newZoneID":2}},"inProgressAuthZones":{"x":{}}}`))
	f.Add([]byte(`{"records":{"x":{"Values":["a"]}}}`))
	f.Add([]byte(`[]`))
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > maxMemory {
			return
		}
		for _, provider := range []any{&gandi.DNSProvider{}, &cloudru.DNSProvider{}, &gravity.DNSProvider{}} {
			_ = restore(provider, json.RawMessage(data)) // must not panic
		}
	})
}
