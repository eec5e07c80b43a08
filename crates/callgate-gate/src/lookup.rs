//! Reading receipts back, for those who may see them.

use std::sync::Arc;

use callgate_core::digest::Digest;
use callgate_log::Statement;
use callgate_log::dsse::Envelope;
use callgate_log::statement::Body;
use callgate_store::StoredReceipt;
use serde_json::Value;

use crate::Credential;
use crate::error::ReceiptError;
use crate::gate::Gate;
use crate::reply::ReceiptReply;
use crate::vault::Attachment;

impl Gate {
    /// One receipt with its proof under the newest checkpoint that covers it. An agent's credential
    /// sees only that agent's receipts.
    ///
    /// # Errors
    /// [`ReceiptError`].
    pub fn receipt(&self, index: u64, credential: &Credential) -> Result<ReceiptReply, ReceiptError> {
        let stored = self.stored(index)?;
        let unreadable = |problem: String| ReceiptError::Unreadable(problem);
        let statement = Statement::parse(&stored.payload).map_err(|e| unreadable(e.to_string()))?;
        if !may_see(credential, statement.body()) {
            return Err(ReceiptError::NotYours(index));
        }
        let key_id = self.verifying_key().key_id();
        let envelope = Envelope::new(stored.payload.clone(), key_id, stored.signature).to_json();
        let json = |text: &[u8]| serde_json::from_slice::<Value>(text).map_err(|e| unreadable(e.to_string()));
        let proof = self.proof(index, stored.size, &stored.checkpoint).map_err(|e| unreadable(e.message))?;
        Ok(ReceiptReply {
            receipt_index: index,
            receipt: json(envelope.as_bytes())?,
            statement: json(&stored.payload)?,
            proof,
        })
    }

    /// The newest checkpoint: a C2SP signed note of the log's size and root; `None` before the first receipt.
    #[must_use]
    pub fn checkpoint(&self) -> Option<Arc<[u8]>> {
        self.store.checkpoint()
    }

    fn stored(&self, index: u64) -> Result<StoredReceipt, ReceiptError> {
        let stored = self.store.read(index).map_err(|e| ReceiptError::Unreadable(e.to_string()))?;
        stored.ok_or(ReceiptError::Unknown(index))
    }

    /// The salt of a decision's digests, from its sealed record.
    pub(crate) fn salt_of(&self, index: u64) -> Result<[u8; 32], String> {
        let stored = self.stored(index).map_err(|e| e.to_string())?;
        let payload_sha256 = Digest::of(&stored.payload);
        match self.vault.open(&stored.attachment, payload_sha256.as_bytes())? {
            Attachment::Record(record) => Ok(record.salt),
            Attachment::Erased => {
                Err("the request was erased, so nothing more can be bound to it".to_owned())
            }
            Attachment::Plain(_) | Attachment::Empty => Err(format!("receipt {index} is no decision")),
        }
    }
}

fn may_see(credential: &Credential, body: &Body) -> bool {
    let (agent, tenant) = match credential {
        Credential::Agent { agent, tenant, .. } => (agent, tenant),
        Credential::Person { tenant: Some(tenant), .. } => {
            return match body {
                Body::Decision(decision) => decision.tenant == *tenant,
                Body::Outcome(outcome) => outcome.tenant == *tenant,
                _ => false,
            };
        }
        _ => return true,
    };
    match body {
        Body::Decision(decision) => decision.agent.id == *agent && decision.tenant == *tenant,
        Body::Outcome(outcome) => outcome.agent.id == *agent && outcome.tenant == *tenant,
        _ => false,
    }
}
