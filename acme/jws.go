package acme

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/big"
	"net/http"
)

// A jws is a flattened JSON Web Signature (RFC 7515 §7.2.2).
type jws struct {
	Protected string `json:"protected"`
	Payload   string `json:"payload"`
	Signature string `json:"signature"`
}

// withMembers returns a copy of req, a request signed by key, with these members
// in its payload and signed again: for what the library has no option for. The
// protected header stays as it is.
func withMembers(req *http.Request, key crypto.Signer, members map[string]any) (*http.Request, error) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return nil, err
	}
	if body, err = setMembers(body, key, members); err != nil {
		return nil, fmt.Errorf("change the payload: %w", err)
	}
	req = req.Clone(req.Context())
	req.Body = io.NopCloser(bytes.NewReader(body))
	req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
	req.ContentLength = int64(len(body))
	return req, nil
}

// setMembers is withMembers for the request's body.
func setMembers(body []byte, key crypto.Signer, members map[string]any) ([]byte, error) {
	var signed jws
	if err := json.Unmarshal(body, &signed); err != nil {
		return nil, err
	}
	payload, err := base64.RawURLEncoding.DecodeString(signed.Payload)
	if err != nil {
		return nil, err
	}
	all := map[string]any{}
	if err := json.Unmarshal(payload, &all); err != nil {
		return nil, err
	}
	maps.Copy(all, members)
	if payload, err = json.Marshal(all); err != nil {
		return nil, err
	}
	signed.Payload = base64.RawURLEncoding.EncodeToString(payload)
	signature, err := sign(key, []byte(signed.Protected+"."+signed.Payload))
	if err != nil {
		return nil, err
	}
	signed.Signature = base64.RawURLEncoding.EncodeToString(signature)
	return json.Marshal(signed)
}

// sign returns the JWS signature of message (RFC 7518 §3.3 and §3.4) with the
// algorithm that the library chose for this key.
func sign(key crypto.Signer, message []byte) ([]byte, error) {
	switch pub := key.Public().(type) {
	case *rsa.PublicKey:
		return crypto.SignMessage(key, rand.Reader, message, crypto.SHA256)
	case *ecdsa.PublicKey:
		hash := map[int]crypto.Hash{256: crypto.SHA256, 384: crypto.SHA384, 521: crypto.SHA512}[pub.Params().BitSize]
		der, err := crypto.SignMessage(key, rand.Reader, message, hash)
		if err != nil {
			return nil, err
		}
		var rs struct{ R, S *big.Int }
		if _, err := asn1.Unmarshal(der, &rs); err != nil {
			return nil, err
		}
		size := (pub.Params().BitSize + 7) / 8
		raw := make([]byte, 2*size)
		rs.R.FillBytes(raw[:size])
		rs.S.FillBytes(raw[size:])
		return raw, nil
	default:
		return nil, fmt.Errorf("a key of type %T", pub)
	}
}
