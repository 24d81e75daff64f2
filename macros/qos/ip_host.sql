{#- An entry without port, brackets and zone. -#}
{%- macro ip_host(entry) -%}
transform(array({{ entry }}), written ->
    substring_index(
        case
            when written rlike r'^\[[0-9a-f:.]*(%[^\]]*)?\](:[0-9]{1,5})?$'
                then regexp_extract(written, r'^\[([^\]]*)\]', 1)
            when written rlike '^[0-9.]+:[0-9]{1,5}$' then substring_index(written, ':', 1)
            else written
        end,
        -- a zone belongs to IPv6 alone
        case when written like '%:%' then '%' else '\n' end,
        1
    )
)[0]
{%- endmacro -%}
