{#- Dotted IPv4 as 8 hexadecimal digits. -#}
{%- macro ip_octets(dotted) -%}
array_join(
    transform(
        split({{ dotted }}, '[.]'), part -> lpad(lower(hex(cast(part as int))), 2, '0')
    ),
    ''
)
{%- endmacro -%}
