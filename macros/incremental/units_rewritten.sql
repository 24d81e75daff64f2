{#- The columns of the units that a model rewrites whole (`rewrites`), as a list; empty where it
    rewrites none. -#}
{%- macro units_rewritten() -%}
    {%- set unit = config.get('rewrites', []) -%}
    {{- return([unit] if unit is string else unit) -}}
{%- endmacro -%}
