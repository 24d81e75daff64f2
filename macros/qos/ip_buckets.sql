{#- Lengths of the prefixes, in hexadecimal digits, by which ranges are found. A range stands under
    the longest of them of which it covers at most 16: so no prefix has many ranges,
    and no range many prefixes. -#}
{%- macro ip_buckets(version) -%}
    {{- return([6, 4, 2] if version == 4 else [12, 8, 6, 3]) -}}
{%- endmacro -%}
