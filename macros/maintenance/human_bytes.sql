{#- 1536 → '1.5 KiB' -#}
{%- macro human_bytes(size) -%}
    {%- set state = namespace(value=size, unit='B') -%}
    {%- for unit in ['KiB', 'MiB', 'GiB', 'TiB'] if state.value >= 1024 -%}
        {%- set state.value = state.value / 1024 -%}
        {%- set state.unit = unit -%}
    {%- endfor -%}
    {{- return(
        (size ~ ' B') if state.unit == 'B' else ('%.1f %s' % (state.value, state.unit))
    ) -}}
{%- endmacro -%}
