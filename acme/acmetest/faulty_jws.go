package acmetest

import (
	"crypto"
	"encoding/base64"
	"mime"
	"net/http"

	"github.com/go-jose/go-jose/v4"
)

// refusal is why a request is not carried out.
type refusal struct {
	status int
	kind   string
	detail string
}

// verify checks the JWS of x as RFC 8555 §6.2-6.5 says and sets x.payload and
// x.account. Only newAccount, and revokeCert if it likes, is signed by a key
// that no account is known for; that key is returned.
func (ca *FaultyCA) verify(x *exchange, body []byte) (*jose.JSONWebKey, *refusal) {
	kind, _, err := mime.ParseMediaType(x.request.Header.Get("Content-Type"))
	if err != nil || kind != "application/jose+json" {
		return nil, &refusal{http.StatusUnsupportedMediaType, "malformed", "the content type is not application/jose+json"}
	}
	signed, err := jose.ParseSigned(string(body), []jose.SignatureAlgorithm{jose.ES256, jose.ES384, jose.ES512, jose.RS256})
	if err != nil || len(signed.Signatures) != 1 {
		return nil, &refusal{http.StatusBadRequest, "malformed", "no JWS with one signature"}
	}
	protected := signed.Signatures[0].Protected
	key, why := ca.signer(x, protected)
	if why != nil {
		return nil, why
	}
	if x.payload, err = signed.Verify(key); err != nil {
		return nil, &refusal{http.StatusBadRequest, "malformed", "the signature is wrong"}
	}
	if url, ok := protected.ExtraHeaders["url"].(string); !ok || url != "https://"+x.request.Host+x.request.URL.RequestURI() {
		return nil, &refusal{http.StatusUnauthorized, "unauthorized", "the signed URL is not the one requested"}
	}
	if !ca.state.nonces[protected.Nonce] {
		return nil, &refusal{http.StatusBadRequest, "badNonce", "the nonce is unknown or used"}
	}
	delete(ca.state.nonces, protected.Nonce)
	return key, nil
}

// signer returns the key that a request must be signed with, and sets x.account
// if it has one.
func (ca *FaultyCA) signer(x *exchange, protected jose.Header) (*jose.JSONWebKey, *refusal) {
	key := protected.JSONWebKey
	if (key == nil) == (protected.KeyID == "") {
		return nil, &refusal{http.StatusBadRequest, "malformed", "exactly one of jwk and kid is wanted"}
	}
	if key != nil {
		if x.request.URL.Path != "/new-account" && x.operation != "revoke" {
			return nil, &refusal{http.StatusBadRequest, "malformed", "kid is wanted"}
		}
		if !key.Valid() || !key.IsPublic() {
			return nil, &refusal{http.StatusBadRequest, "badPublicKey", "no public key"}
		}
		return key, nil
	}
	for _, a := range ca.state.accounts {
		if ca.main.url("/account/"+a.id) != protected.KeyID {
			continue
		}
		if a.status != "valid" {
			return nil, &refusal{http.StatusUnauthorized, "unauthorized", "the account is " + a.status}
		}
		x.account = a
		return a.key, nil
	}
	return nil, &refusal{http.StatusBadRequest, "accountDoesNotExist", "no account has this URL"}
}

// thumbprint returns the thumbprint of a key (RFC 7638), empty for bad keys.
func thumbprint(key *jose.JSONWebKey) string {
	sum, err := key.Thumbprint(crypto.SHA256)
	if err != nil {
		return ""
	}
	return base64.RawURLEncoding.EncodeToString(sum)
}
