package acmetest

import (
	"net/http/httptest"
	"testing"
	"time"

	"github.com/letsencrypt/pebble/v2/acme"
	"github.com/letsencrypt/pebble/v2/core"
	"github.com/letsencrypt/pebble/v2/db"
)

// finalizing puts an order into store that is finalized and replaces certID.
func finalizing(t *testing.T, store *db.MemoryStore, certID string) *core.Order {
	t.Helper()
	order := &core.Order{Order: acme.Order{Status: acme.StatusReady, Replaces: certID}, ID: "order", AccountID: "account",
		ExpiresDate: time.Now().Add(time.Hour), BeganProcessing: true}
	if _, err := store.AddOrder(order); err != nil {
		t.Fatal(err)
	}
	return order
}

// issueTo gives order a certificate with serial, as Pebble's CA does.
func issueTo(t *testing.T, store *db.MemoryStore, order *core.Order, serial string) {
	t.Helper()
	order.Lock()
	order.CertificateObject = &core.Certificate{ID: serial}
	order.Unlock()
	if err := store.AddOrderByIssuedSerial(order); err != nil {
		t.Error(err)
	}
}

// TestSettleWaits: for the certificate, and for the mark on what it replaces; the
// race detector sees a mark that is read before it is written.
func TestSettleWaits(t *testing.T) {
	t.Parallel()
	store := db.NewMemoryStore()
	old := &core.Order{ID: "old"}
	issueTo(t, store, old, "80ff")
	findable(store, old)
	order := finalizing(t, store, "YWtp.AID_") // a serial of 00 80 ff
	done := make(chan struct{})
	go func() {
		defer close(done)
		time.Sleep(5 * time.Millisecond)
		issueTo(t, store, order, "12")
		time.Sleep(5 * time.Millisecond)
		if err := store.UpdateReplacedOrder("0080ff", true); err != nil {
			t.Error(err)
		}
	}()
	settle(httptest.NewRequest("POST", "/finalize-order/order", nil), store, "order")
	replaced, err := store.GetOrderByIssuedSerial("0080ff")
	if err != nil || !replaced.IsReplaced {
		t.Errorf("settled with the replaced certificate marked %t (%v), want true", replaced != nil && replaced.IsReplaced, err)
	}
	<-done
}

// TestFindable: by its serial as in DER, which has a byte more than the number
// where that begins with a set bit, and only there.
func TestFindable(t *testing.T) {
	t.Parallel()
	for serial, der := range map[string]string{"80ff": "0080ff", "ff": "00ff", "7f80": "", "1234": ""} {
		store := db.NewMemoryStore()
		order := &core.Order{ID: serial, AccountID: "account"}
		issueTo(t, store, order, serial)
		findable(store, order)
		found, err := store.GetOrderByIssuedSerial("00" + serial)
		if want := der != ""; (err == nil) != want {
			t.Errorf("00%s is found: %t, want %t", serial, err == nil, want)
		} else if want && found.AccountID != "account" {
			t.Errorf("00%s is of account %q, want its order's", serial, found.AccountID)
		}
	}
}
