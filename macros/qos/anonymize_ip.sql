{#- An address without its host part: IPv4 loses its last octet, IPv6 its last 80 bits. Null where
    the text holds no address. See ip_address. -#}
{%- macro anonymize_ip(text) -%}
{{ ip_address(text) }}.network
{%- endmacro -%}
