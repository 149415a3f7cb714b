//! The keys that are good at one moment: of API keys only hashes, of issuers what verifies their tokens.

use std::fmt;
use std::sync::Arc;

use http::HeaderValue;
use sha2::{Digest, Sha256};
use tollgate_terms::{FastMap, Principal};

use super::token::{Algorithm, Verifier};

/// What SHA-256 takes in at once.
const BLOCK_BYTES: usize = 64;

/// What stands before the hash of a key that was hashed by whoever wrote it down.
const HASHED: &str = "sha256:";

/// Every key that is good. Cheap to clone.
#[derive(Clone, Default)]
pub struct Keyring {
    /// Keeps apart what one process holds from what another does: hashes that leak are of no use elsewhere.
    keyed: Keyed,
    policies: FastMap<Arc<str>, Arc<PolicyKeys>>,
}

/// A SHA-256 that has taken in a block which nobody outside knows. What follows has one length, so that a hash says nothing of any other: for texts of
/// any length this would have to be an HMAC.
#[derive(Clone)]
struct Keyed(Sha256);

/// The keys of one policy.
#[derive(Clone, Default)]
pub struct PolicyKeys {
    /// Clients by the keyed hash of their key's hash.
    clients: FastMap<[u8; 32], Client>,
    /// The keys of each of its providers.
    pub sets: Vec<KeySet>,
}

/// Whose key it is.
#[derive(Debug, Clone)]
pub(super) struct Client {
    pub(super) principal: Arc<Principal>,
    /// Its id, as backends are told it; `None` if it has none that a header may hold.
    pub(super) id: Option<HeaderValue>,
}

/// The SHA-256 of an API key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ApiKeyHash([u8; 32]);

/// The keys of one issuer, as they are known.
#[derive(Debug, Clone, Default)]
pub struct KeySet {
    /// The keys; `None` while they are not here.
    pub keys: Option<Arc<[Key]>>,
    /// When they were last asked for, seconds since the Unix epoch; `None` if nobody has to be asked for them.
    pub asked_at_s: Option<u64>,
}

/// One key of an issuer.
#[derive(Clone)]
pub struct Key {
    /// Its id, `kid`.
    pub id: Option<String>,
    /// The algorithms for which it may be used.
    pub algorithms: Vec<Algorithm>,
    /// What tells whether it has made a signature.
    pub verifier: Arc<dyn Verifier>,
}

impl KeySet {
    /// Whether this is the same answer of an issuer as `other`.
    pub fn is_same(&self, other: &Self) -> bool {
        let keys = match (&self.keys, &other.keys) {
            (None, None) => true,
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            (None, Some(_)) | (Some(_), None) => false,
        };
        keys && self.asked_at_s == other.asked_at_s
    }
}

impl Keyed {
    fn new(salt: [u8; 32]) -> Self {
        let mut block = [0; BLOCK_BYTES];
        block.iter_mut().zip(salt).for_each(|(byte, salt)| *byte = salt);
        Self(Sha256::new_with_prefix(block))
    }
}

impl Default for Keyed {
    fn default() -> Self {
        Self::new([0; 32])
    }
}

impl ApiKeyHash {
    /// Whether the value of a Secret is written as the hash of a key, good or not, and not as the key.
    pub fn is_written(value: &str) -> bool {
        value.trim().starts_with(HASHED)
    }

    /// Reads the value of a Secret: a key, or `sha256:` and the hexadecimal digits of its hash. White space around it does not count.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(value: &str) -> Result<Self, &'static str> {
        let value = value.trim();
        match value.strip_prefix(HASHED) {
            None if value.is_empty() => Err("is empty"),
            None => Ok(Self(Sha256::digest(value).into())),
            Some(digits) => {
                hexadecimal(digits).map(Self).ok_or("expected 64 hexadecimal digits behind \"sha256:\"")
            }
        }
    }
}

impl PolicyKeys {
    /// The keys of a policy, whose providers have `sets`.
    pub fn new(sets: Vec<KeySet>) -> Self {
        Self { clients: FastMap::default(), sets }
    }
}

impl Keyring {
    /// An empty one. `salt` is to be known to this process alone.
    pub fn new(salt: [u8; 32]) -> Self {
        Self { keyed: Keyed::new(salt), policies: FastMap::default() }
    }

    /// Adds a client to `keys`. Of two clients with one key the first counts.
    pub fn add_client(&self, keys: &mut PolicyKeys, hash: ApiKeyHash, client: Arc<Principal>) {
        let id = client.key_id.as_deref().and_then(|id| HeaderValue::from_str(id).ok());
        keys.clients.entry(self.place(hash)).or_insert(Client { principal: client, id });
    }

    /// Adds the keys of the policy called `name`.
    pub fn add_policy(&mut self, name: Arc<str>, keys: PolicyKeys) {
        self.policies.insert(name, Arc::new(keys));
    }

    /// Takes new keys of one provider of the policy called `name`.
    pub fn set(&mut self, name: &str, provider: usize, set: KeySet) {
        if let Some(keys) = self.policies.get_mut(name)
            && let Some(place) = Arc::make_mut(keys).sets.get_mut(provider)
        {
            *place = set;
        }
    }

    /// The keys of one provider of the policy called `name`.
    pub fn set_of(&self, name: &str, provider: usize) -> Option<&KeySet> {
        self.of(name)?.sets.get(provider)
    }

    /// The keys of the policy called `name`.
    pub(super) fn of(&self, name: &str) -> Option<&PolicyKeys> {
        self.policies.get(name).map(Arc::as_ref)
    }

    /// The client with this key. How long that takes does not depend on how near the key is to another: what is compared are keyed
    /// hashes, which nobody outside can aim at.
    pub(super) fn client(&self, keys: &PolicyKeys, key: &str) -> Option<Client> {
        let place = self.place(ApiKeyHash(Sha256::digest(key).into()));
        let (known, client) = keys.clients.get_key_value(&place)?;
        is_same(known, &place).then(|| client.clone())
    }

    fn place(&self, hash: ApiKeyHash) -> [u8; 32] {
        self.keyed.0.clone().chain_update(hash.0).finalize().into()
    }
}

/// Compares without an early end.
fn is_same(a: &[u8; 32], b: &[u8; 32]) -> bool {
    a.iter().zip(b).fold(0, |differences, (a, b)| differences | (a ^ b)) == 0
}

fn hexadecimal(digits: &str) -> Option<[u8; 32]> {
    let digits = digits.as_bytes();
    if digits.len() != 64 {
        return None;
    }
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = digit(*pair.first()?)? << 4 | digit(*pair.get(1)?)?;
    }
    Some(bytes)
}

/// Tells whose keys there are, never what they are.
impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.policies.keys()).finish()
    }
}

impl fmt::Debug for PolicyKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PolicyKeys").field("clients", &self.clients.len()).finish_non_exhaustive()
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key")
            .field("id", &self.id)
            .field("algorithms", &self.algorithms)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(name: &str) -> Arc<Principal> {
        Arc::new(Principal { user: Some(name.into()), ..Principal::default() })
    }

    #[test]
    fn a_key_is_found_by_itself_and_by_nothing_near_it() {
        let keyring = Keyring::new([7; 32]);
        let mut keys = PolicyKeys::default();
        let hash = |value| ApiKeyHash::parse(value).ok().unwrap();
        keyring.add_client(&mut keys, hash("  sk-plain\n"), client("plain"));
        let hashed = "sha256:2BB80D537B1DA3E38BD30361AA855686BDE0EACD7162FEF6A25FE97BF527A25B";
        keyring.add_client(&mut keys, hash(hashed), client("hashed"));
        keyring.add_client(&mut keys, hash("secret"), client("second"));
        let found = |key| keyring.client(&keys, key).and_then(|client| client.principal.user.clone());
        assert_eq!(found("sk-plain").as_deref(), Some("plain"));
        assert_eq!(found("secret").as_deref(), Some("hashed"));
        for key in ["", "sk-plai", "sk-plain2", "SK-PLAIN", hashed, &hashed.to_ascii_lowercase()] {
            assert_eq!(found(key), None, "{key}");
        }
    }

    #[test]
    fn values_that_are_no_keys_are_told() {
        for value in ["", " \n", "sha256:", "sha256:12", &format!("sha256:{}", "g".repeat(64))] {
            assert!(ApiKeyHash::parse(value).is_err(), "{value}");
        }
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "time is what is tested")]
    fn a_near_miss_takes_as_long_as_a_far_one() {
        let keyring = Keyring::new([7; 32]);
        let mut keys = PolicyKeys::default();
        let good = "k".repeat(64);
        for number in 0..100 {
            let hash = ApiKeyHash::parse(&format!("{number}{good}")).ok().unwrap();
            keyring.add_client(&mut keys, hash, client("other"));
        }
        keyring.add_client(&mut keys, ApiKeyHash::parse(&good).ok().unwrap(), client("good"));
        let near = format!("{}x", &good[..63]);
        let far = "x".repeat(64);
        let took = |key: &str| {
            let began = std::time::Instant::now();
            for _ in 0..20 {
                assert!(keyring.client(&keys, std::hint::black_box(key)).is_none());
            }
            began.elapsed().as_nanos()
        };
        let (mut near_took, mut far_took) = (Vec::new(), Vec::new());
        // In turns, so that what else the machine does falls on both.
        for _ in 0..1000 {
            near_took.push(took(&near));
            far_took.push(took(&far));
        }
        let median = |mut times: Vec<u128>| {
            times.sort_unstable();
            times[times.len() / 2]
        };
        let (near, far) = (median(near_took), median(far_took));
        assert!(near.abs_diff(far) * 10 < far * 2, "near {near} ns, far {far} ns");
    }
}
