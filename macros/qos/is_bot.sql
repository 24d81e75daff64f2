{#- Whether a user agent says that it is no person's browser; null for no agent. -#}
{%- macro is_bot(user_agent) -%}
    {{ user_agent }} rlike '(?i)bot|crawl|spider|slurp|whatsapp|facebookexternalhit|preview|monitor|curl/|wget/|python-|headless'
{%- endmacro -%}
