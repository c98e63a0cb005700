//! Vendors as data: who stands behind a host, and what their keys look like. It serves for warnings only; nothing on the path
//! of a request asks which vendor it is.

use berry_vocab::Protocol;

use crate::base_url::BaseUrl;

/// A vendor that speaks a known protocol.
#[derive(Debug)]
pub struct Vendor {
    /// Its name for people.
    pub name: &'static str,
    /// What its hosts end in: this name itself, or names below it.
    pub host: &'static str,
    /// The protocol that it is best spoken to in.
    pub protocol: Protocol,
    /// How its keys begin; empty where they have no common form.
    pub keys: &'static [&'static str],
}

/// The vendors whose hosts or keys Berry knows.
pub static VENDORS: &[Vendor] = &[
    row("Anthropic", "api.anthropic.com", Protocol::Anthropic, &["sk-ant-"]),
    row("Azure OpenAI", "openai.azure.com", Protocol::OpenAi, &[]),
    row("Cerebras", "api.cerebras.ai", Protocol::OpenAi, &["csk-"]),
    row("DashScope", "dashscope.aliyuncs.com", Protocol::OpenAi, &["sk-"]),
    row("DeepSeek", "api.deepseek.com", Protocol::OpenAi, &["sk-"]),
    row("Fireworks", "api.fireworks.ai", Protocol::OpenAi, &["fw_"]),
    row("Gemini", "generativelanguage.googleapis.com", Protocol::Gemini, &["AIza", "AQ."]),
    row("Groq", "api.groq.com", Protocol::OpenAi, &["gsk_"]),
    row("Hugging Face", "router.huggingface.co", Protocol::OpenAi, &["hf_"]),
    row("Mistral", "api.mistral.ai", Protocol::OpenAi, &[]),
    row("Moonshot", "api.moonshot.cn", Protocol::OpenAi, &["sk-"]),
    row("NVIDIA", "integrate.api.nvidia.com", Protocol::OpenAi, &["nvapi-"]),
    row("OpenAI", "api.openai.com", Protocol::OpenAi, &["sk-"]),
    row("OpenRouter", "openrouter.ai", Protocol::OpenAi, &["sk-or-"]),
    row("Perplexity", "api.perplexity.ai", Protocol::OpenAi, &["pplx-"]),
    row("SiliconFlow", "api.siliconflow.cn", Protocol::OpenAi, &["sk-"]),
    row("Together", "api.together.xyz", Protocol::OpenAi, &[]),
    row("Volcengine Ark", "volces.com", Protocol::OpenAi, &[]),
    row("xAI", "api.x.ai", Protocol::OpenAi, &["xai-"]),
    row("Zhipu", "open.bigmodel.cn", Protocol::OpenAi, &[]),
];

/// The vendor behind a host, if it is known.
pub fn vendor_of(host: &str) -> Option<&'static Vendor> {
    VENDORS
        .iter()
        .find(|vendor| host.strip_suffix(vendor.host).is_some_and(|below| below.is_empty() || below.ends_with('.')))
}

/// A warning where a key is unlike those of the vendor behind the URL. The key itself is not in it.
pub fn key_warning(base: &BaseUrl, key: &str) -> Option<String> {
    let vendor = vendor_of(base.host())?;
    let issuer = issuer(key);
    let of_another = issuer.filter(|issuer| issuer.name != vendor.name && specific(issuer));
    if let Some(other) = of_another.filter(|_| !key.is_empty()) {
        return Some(format!("this looks like a key of {}, but the URL is {}'s", other.name, vendor.name));
    }
    if key.is_empty() || vendor.keys.is_empty() || vendor.keys.iter().any(|start| key.starts_with(start)) {
        return None;
    }
    Some(format!("keys of {} begin with {}; this one does not", vendor.name, vendor.keys.join(" or ")))
}

const fn row(name: &'static str, host: &'static str, protocol: Protocol, keys: &'static [&'static str]) -> Vendor {
    Vendor { name, host, protocol, keys }
}

/// Whose form of key it is, by the longest beginning that fits.
fn issuer(key: &str) -> Option<&'static Vendor> {
    let fits = VENDORS.iter().flat_map(|vendor| vendor.keys.iter().map(move |start| (start.len(), vendor, start)));
    fits.filter(|(_, _, start)| key.starts_with(**start))
        .max_by_key(|(length, _, _)| *length)
        .map(|(_, vendor, _)| vendor)
}

/// `sk-` alone says nothing: half the vendors copied it.
fn specific(vendor: &Vendor) -> bool {
    !vendor.keys.contains(&"sk-")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn warning(url: &str, protocol: Protocol, key: &str) -> Option<String> {
        key_warning(&BaseUrl::parse(url, protocol).unwrap(), key)
    }

    #[test]
    fn vendors_are_sorted_and_known_by_their_hosts_alone() {
        assert!(VENDORS.is_sorted_by_key(|vendor| vendor.name.to_lowercase()));
        assert_eq!(vendor_of("api.openai.com").unwrap().name, "OpenAI");
        assert_eq!(vendor_of("mine.openai.azure.com").unwrap().name, "Azure OpenAI");
        assert!(vendor_of("evil-api.openai.com").is_none());
        assert!(vendor_of("api.openai.com.evil.example").is_none());
    }

    #[test]
    fn a_key_of_another_form_is_warned_about_without_showing_it() {
        let openai = "https://api.openai.com";
        assert_eq!(warning(openai, Protocol::OpenAi, "sk-proj-abc"), None);
        assert_eq!(warning(openai, Protocol::OpenAi, ""), None);
        for key in ["sk-ant-api03-secret", "AIzaSecret", "gsk_secret", "sk-or-v1-secret", "xai-secret", "secret"] {
            let text = warning(openai, Protocol::OpenAi, key).unwrap();
            assert!(!text.contains("secret") && !text.contains("Secret"), "{text}");
        }
        assert!(warning("https://api.anthropic.com", Protocol::Anthropic, "sk-proj-x").unwrap().contains("sk-ant-"));
        assert_eq!(warning("https://api.mistral.ai", Protocol::OpenAi, "anything"), None);
        assert!(warning("https://api.mistral.ai", Protocol::OpenAi, "gsk_x").unwrap().contains("Groq"));
        assert_eq!(warning("http://localhost:11434", Protocol::OpenAi, "anything"), None);
    }
}
