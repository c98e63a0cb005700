//! Vendors as data: where each is reached, in which protocols, and what its keys look like. A provider that names its vendor
//! needs only a key. It serves the reading of the configuration; nothing on the path of a request asks which vendor it is.

use berry_vocab::Protocol::{self, Anthropic, Gemini, OpenAi};

use crate::base_url::BaseUrl;

/// A vendor, or a kind of server that people run themselves, that speaks a known protocol.
#[derive(Debug)]
pub struct Vendor {
    /// What it is called in a configuration; the first is the one that documents use.
    pub ids: &'static [&'static str],
    /// Its name for people.
    pub name: &'static str,
    /// What its hosts end in: this name itself, or names below it. Empty where it has none of its own.
    pub host: &'static str,
    /// The protocols that it speaks and the `base_url` of each; the first is the one that it is best spoken to in. Empty where
    /// the URL differs from account to account.
    pub urls: &'static [(Protocol, &'static str)],
    /// How its keys begin; empty where they have no common form.
    pub keys: &'static [&'static str],
    /// Whether it answers nobody without a key.
    pub needs_key: bool,
}

/// The vendors that Berry knows, by name. URLs and forms of keys are from the vendors' documents, and where those could not be read
/// from the documents of programs that call them (November 2026); no test calls them. An Anthropic address is listed where
/// Anthropic's own SDK, which sends the key as `x-api-key`, is said to work there.
pub static VENDORS: &[Vendor] = &[
    row(
        &["anthropic", "claude"],
        "Anthropic",
        "api.anthropic.com",
        &["sk-ant-"],
        &[(Anthropic, "https://api.anthropic.com")],
    ),
    row(
        &["ark", "doubao", "volcengine"],
        "Volcengine Ark",
        "volces.com",
        &[],
        &[(OpenAi, "https://ark.cn-beijing.volces.com/api/v3")],
    ),
    row(&[], "Azure OpenAI", "openai.azure.com", &[], &[]),
    row(&["baichuan"], "Baichuan", "api.baichuan-ai.com", &["sk-"], &[(OpenAi, "https://api.baichuan-ai.com/v1")]),
    row(&["cerebras"], "Cerebras", "api.cerebras.ai", &["csk-"], &[(OpenAi, "https://api.cerebras.ai/v1")]),
    row(&["cohere"], "Cohere", "api.cohere.ai", &[], &[(OpenAi, "https://api.cohere.ai/compatibility/v1")]),
    row(
        &["dashscope", "qwen", "bailian"],
        "DashScope",
        "dashscope.aliyuncs.com",
        &["sk-"],
        &[
            (OpenAi, "https://dashscope.aliyuncs.com/compatible-mode/v1"),
            (Anthropic, "https://dashscope.aliyuncs.com/apps/anthropic"),
        ],
    ),
    row(
        &["dashscope-intl", "qwen-intl"],
        "DashScope International",
        "dashscope-intl.aliyuncs.com",
        &["sk-"],
        &[
            (OpenAi, "https://dashscope-intl.aliyuncs.com/compatible-mode/v1"),
            (Anthropic, "https://dashscope-intl.aliyuncs.com/apps/anthropic"),
        ],
    ),
    row(&["deepinfra"], "DeepInfra", "api.deepinfra.com", &[], &[(OpenAi, "https://api.deepinfra.com/v1/openai")]),
    row(
        &["deepseek"],
        "DeepSeek",
        "api.deepseek.com",
        &["sk-"],
        &[(OpenAi, "https://api.deepseek.com/v1"), (Anthropic, "https://api.deepseek.com/anthropic")],
    ),
    row(
        &["fireworks"],
        "Fireworks",
        "api.fireworks.ai",
        &["fw_"],
        &[(OpenAi, "https://api.fireworks.ai/inference/v1")],
    ),
    row(
        &["gemini", "google"],
        "Gemini",
        "generativelanguage.googleapis.com",
        &["AIza", "AQ."],
        &[
            (Gemini, "https://generativelanguage.googleapis.com/v1beta"),
            (OpenAi, "https://generativelanguage.googleapis.com/v1beta/openai"),
        ],
    ),
    row(&["groq"], "Groq", "api.groq.com", &["gsk_"], &[(OpenAi, "https://api.groq.com/openai/v1")]),
    row(
        &["huggingface"],
        "Hugging Face",
        "router.huggingface.co",
        &["hf_"],
        &[(OpenAi, "https://router.huggingface.co/v1")],
    ),
    row(
        &["hunyuan"],
        "Hunyuan",
        "hunyuan.cloud.tencent.com",
        &["sk-"],
        &[(OpenAi, "https://api.hunyuan.cloud.tencent.com/v1")],
    ),
    own(
        &["llama-cpp", "llamacpp"],
        "llama.cpp",
        &[(OpenAi, "http://127.0.0.1:8080/v1"), (Anthropic, "http://127.0.0.1:8080")],
    ),
    own(
        &["lmstudio", "lm-studio"],
        "LM Studio",
        &[(OpenAi, "http://127.0.0.1:1234/v1"), (Anthropic, "http://127.0.0.1:1234")],
    ),
    row(
        &["minimax"],
        "MiniMax",
        "api.minimaxi.com",
        &[],
        &[(OpenAi, "https://api.minimaxi.com/v1"), (Anthropic, "https://api.minimaxi.com/anthropic")],
    ),
    row(
        &["minimax-intl"],
        "MiniMax International",
        "api.minimax.io",
        &[],
        &[(OpenAi, "https://api.minimax.io/v1"), (Anthropic, "https://api.minimax.io/anthropic")],
    ),
    row(&["mistral"], "Mistral", "api.mistral.ai", &[], &[(OpenAi, "https://api.mistral.ai/v1")]),
    row(
        &["modelscope"],
        "ModelScope",
        "api-inference.modelscope.cn",
        &["ms-"],
        &[(OpenAi, "https://api-inference.modelscope.cn/v1")],
    ),
    row(
        &["moonshot", "kimi"],
        "Moonshot",
        "api.moonshot.cn",
        &["sk-"],
        &[(OpenAi, "https://api.moonshot.cn/v1"), (Anthropic, "https://api.moonshot.cn/anthropic")],
    ),
    row(
        &["moonshot-intl", "kimi-intl"],
        "Moonshot International",
        "api.moonshot.ai",
        &["sk-"],
        &[(OpenAi, "https://api.moonshot.ai/v1"), (Anthropic, "https://api.moonshot.ai/anthropic")],
    ),
    row(
        &["nvidia"],
        "NVIDIA",
        "integrate.api.nvidia.com",
        &["nvapi-"],
        &[(OpenAi, "https://integrate.api.nvidia.com/v1")],
    ),
    own(&["ollama"], "Ollama", &[(OpenAi, "http://127.0.0.1:11434/v1"), (Anthropic, "http://127.0.0.1:11434")]),
    row(&["openai"], "OpenAI", "api.openai.com", &["sk-"], &[(OpenAi, "https://api.openai.com/v1")]),
    row(&["openrouter"], "OpenRouter", "openrouter.ai", &["sk-or-"], &[(OpenAi, "https://openrouter.ai/api/v1")]),
    // Its path has no version.
    row(&["perplexity"], "Perplexity", "api.perplexity.ai", &["pplx-"], &[(OpenAi, "https://api.perplexity.ai#")]),
    row(
        &["sambanova"],
        "SambaNova",
        "api.sambanova.ai",
        &[],
        &[(OpenAi, "https://api.sambanova.ai/v1"), (Anthropic, "https://api.sambanova.ai/v1")],
    ),
    row(&["siliconflow"], "SiliconFlow", "api.siliconflow.cn", &["sk-"], &[(OpenAi, "https://api.siliconflow.cn/v1")]),
    row(
        &["siliconflow-intl"],
        "SiliconFlow International",
        "api.siliconflow.com",
        &["sk-"],
        &[(OpenAi, "https://api.siliconflow.com/v1")],
    ),
    row(&["stepfun"], "StepFun", "api.stepfun.com", &[], &[(OpenAi, "https://api.stepfun.com/v1")]),
    row(&["together"], "Together", "api.together.xyz", &[], &[(OpenAi, "https://api.together.xyz/v1")]),
    own(&["vllm"], "vLLM", &[(OpenAi, "http://127.0.0.1:8000/v1"), (Anthropic, "http://127.0.0.1:8000")]),
    row(&["xai", "grok"], "xAI", "api.x.ai", &["xai-"], &[(OpenAi, "https://api.x.ai/v1")]),
    row(
        &["zai"],
        "Z.ai",
        "api.z.ai",
        &[],
        &[(OpenAi, "https://api.z.ai/api/paas/v4"), (Anthropic, "https://api.z.ai/api/anthropic")],
    ),
    row(
        &["zhipu", "bigmodel", "glm"],
        "Zhipu",
        "open.bigmodel.cn",
        &[],
        &[(OpenAi, "https://open.bigmodel.cn/api/paas/v4"), (Anthropic, "https://open.bigmodel.cn/api/anthropic")],
    ),
];

/// The vendor of this id, or of another of its ids.
pub fn vendor(id: &str) -> Option<&'static Vendor> {
    VENDORS.iter().find(|vendor| vendor.ids.contains(&id))
}

impl Vendor {
    /// Where it is reached in this protocol.
    pub fn url(&self, protocol: Protocol) -> Option<&'static str> {
        self.urls.iter().find(|(spoken, _)| *spoken == protocol).map(|(_, url)| *url)
    }

    /// The protocol that it is best spoken to in.
    pub fn protocol(&self) -> Protocol {
        self.urls.first().map_or(OpenAi, |(protocol, _)| *protocol)
    }
}

/// The vendor behind a host, if it is known.
pub fn vendor_of(host: &str) -> Option<&'static Vendor> {
    VENDORS
        .iter()
        .filter(|vendor| !vendor.host.is_empty())
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

const fn row(
    ids: &'static [&'static str],
    name: &'static str,
    host: &'static str,
    keys: &'static [&'static str],
    urls: &'static [(Protocol, &'static str)],
) -> Vendor {
    Vendor { ids, name, host, urls, keys, needs_key: true }
}

/// A server that people run themselves, where it listens if nobody says otherwise.
const fn own(ids: &'static [&'static str], name: &'static str, urls: &'static [(Protocol, &'static str)]) -> Vendor {
    Vendor { ids, name, host: "", urls, keys: &[], needs_key: false }
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
    fn every_vendor_has_a_name_of_its_own_and_urls_that_can_be_used() {
        let ids: Vec<&str> = VENDORS.iter().flat_map(|vendor| vendor.ids).copied().collect();
        for id in &ids {
            assert_eq!(ids.iter().filter(|other| *other == id).count(), 1, "{id}");
            assert!(vendor(id).unwrap().url(vendor(id).unwrap().protocol()).is_some(), "{id}");
        }
        assert!(VENDORS.iter().filter(|vendor| !vendor.ids.is_empty()).count() >= 30);
        for vendor in VENDORS {
            for (protocol, url) in vendor.urls {
                let url = BaseUrl::parse(url, *protocol).unwrap();
                assert_eq!(url.is_tls(), vendor.needs_key, "{}", vendor.name);
                assert!(!url.full_endpoint(), "{}", vendor.name);
                if vendor.needs_key {
                    assert_eq!(vendor_of(url.host()).unwrap().name, vendor.name);
                }
            }
        }
    }

    #[test]
    fn vendors_are_known_by_their_hosts_alone() {
        assert_eq!(vendor_of("api.openai.com").unwrap().name, "OpenAI");
        assert_eq!(vendor_of("mine.openai.azure.com").unwrap().name, "Azure OpenAI");
        assert!(vendor_of("evil-api.openai.com").is_none());
        assert!(vendor_of("api.openai.com.evil.example").is_none());
    }

    #[test]
    fn a_key_of_another_form_is_warned_about_without_showing_it() {
        let openai = "https://api.openai.com";
        assert_eq!(warning(openai, OpenAi, "sk-proj-abc"), None);
        assert_eq!(warning(openai, OpenAi, ""), None);
        for key in ["sk-ant-api03-secret", "AIzaSecret", "gsk_secret", "sk-or-v1-secret", "xai-secret", "secret"] {
            let text = warning(openai, OpenAi, key).unwrap();
            assert!(!text.contains("secret") && !text.contains("Secret"), "{text}");
        }
        assert!(warning("https://api.anthropic.com", Anthropic, "sk-proj-x").unwrap().contains("sk-ant-"));
        assert_eq!(warning("https://api.mistral.ai", OpenAi, "anything"), None);
        assert!(warning("https://api.mistral.ai", OpenAi, "gsk_x").unwrap().contains("Groq"));
        assert_eq!(warning("http://localhost:11434", OpenAi, "anything"), None);
    }
}
