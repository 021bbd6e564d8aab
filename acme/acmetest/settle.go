package acmetest

import (
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/letsencrypt/pebble/v2/core"
	"github.com/letsencrypt/pebble/v2/db"
)

// settled answers requests as Pebble does, without three faults of Pebble 2.10.1
// in what it does at once:
//
//   - newOrder is answered while no other request is. It takes the locks of the
//     store and of an authorization in one order, and showing an authorization takes
//     them in the other, so that many clients at once bring Pebble to a standstill.
//   - finalize is answered when the certificate is issued and the one it replaces is
//     marked. Pebble does that behind the answer, and its newOrder looks at the mark
//     without a lock.
//   - A certificate is found by its serial number also where that has a zero byte
//     in front (see findable).
func settled(store *db.MemoryStore, next http.Handler) http.Handler {
	var busy sync.RWMutex
	routes := pebbleRoutes()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		operation := operationOf(routes, r.URL.Path)
		if operation == "order" {
			busy.Lock()
			defer busy.Unlock()
		} else {
			busy.RLock()
			defer busy.RUnlock()
		}
		next.ServeHTTP(w, r)
		if operation == "finalize" {
			settle(r, store, r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:])
		}
	})
}

// settleTime bounds the wait for an order that Pebble finalizes: some never end,
// such as one whose certificate it can't issue.
const settleTime = 2 * time.Second

// settle waits until all that comes of a finalized order is in the store.
func settle(r *http.Request, store *db.MemoryStore, id string) {
	order := store.GetOrderByID(id)
	if order == nil {
		return
	}
	order.RLock()
	began, replaces := order.BeganProcessing, order.Replaces
	order.RUnlock()
	if !began {
		return // refused
	}
	for end := time.Now().Add(settleTime); time.Now().Before(end); {
		if issued(store, order) && marked(store, replaces) {
			findable(store, order)
			return
		}
		select {
		case <-r.Context().Done():
			return
		case <-time.After(time.Millisecond):
		}
	}
}

// issued reports whether the certificate of order is there, also by its serial.
func issued(store *db.MemoryStore, order *core.Order) bool {
	order.RLock()
	certificate := order.CertificateObject
	order.RUnlock()
	if certificate == nil {
		return false
	}
	_, err := store.GetOrderByIssuedSerial(certificate.ID)
	return err == nil
}

// marked reports whether the certificate with the ARI identifier certID is marked
// as replaced, or there is none to mark.
func marked(store *db.MemoryStore, certID string) bool {
	_, encoded, _ := strings.Cut(certID, ".")
	serial, err := base64.RawURLEncoding.DecodeString(encoded)
	if err != nil || len(serial) == 0 {
		return true
	}
	order, err := store.GetOrderByIssuedSerial(hex.EncodeToString(serial))
	if err != nil {
		return true
	}
	order.RLock()
	defer order.RUnlock()
	return order.IsReplaced
}

// findable lets Pebble find order by the serial number as it is in DER, and so in
// an ARI identifier (RFC 9773 §4.1): with a zero byte in front where its first bit
// is set. Pebble knows it without, and answers newOrder with 500.
func findable(store *db.MemoryStore, order *core.Order) {
	order.RLock()
	defer order.RUnlock()
	id := order.CertificateObject.ID
	if id == "" || id[0] < '8' || len(id)%2 != 0 {
		return
	}
	// The store refuses an order without a certificate only.
	_ = store.AddOrderByIssuedSerial(&core.Order{
		Order: order.Order, ID: order.ID, AccountID: order.AccountID,
		CertificateObject: &core.Certificate{ID: "00" + id},
	})
}
