//! How the audit log does, for `/health` and the metrics: that it cannot be written should be seen by whoever looks.

use serde_json::{Value, json};

use crate::gateway::Gateway;
use crate::metrics::Exposition;
use crate::ports::AuditStanding;

/// As `/health` shows it to admins.
pub fn audit(gateway: &Gateway) -> Value {
    let Some(AuditStanding { failing, records, lost }) = gateway.audit().map(|audit| audit.standing()) else {
        return Value::Null;
    };
    json!({"failing": failing.is_some(), "reason": failing, "records": records, "lost": lost})
}

pub(super) fn expose(gateway: &Gateway, out: &mut Exposition) {
    let Some(AuditStanding { failing, records, lost }) = gateway.audit().map(|audit| audit.standing()) else { return };
    for (name, kind, help, value) in [
        (
            "berry_audit_failing",
            "gauge",
            "Whether the audit log cannot be written (1), so that changes are refused.",
            u64::from(failing.is_some()),
        ),
        ("berry_audit_records_total", "counter", "Number of the newest record of the audit log.", records),
        (
            "berry_audit_lost_total",
            "counter",
            "Events that were not recorded, as too many came or the disk refused.",
            lost,
        ),
    ] {
        out.family(name, kind, help);
        out.sample(name, &[], value as f64);
    }
}
