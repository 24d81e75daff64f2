{#- A date out of text that names year, month and day. A plain cast would read '2012' as the
    first of January. -#}
{%- macro full_date(text) -%}
    case
        when {{ text }} rlike '^[0-9]{4}-[0-9]{2}-[0-9]{2}([T ]|$)'
            then try_cast(left({{ text }}, 10) as date)
    end
{%- endmacro -%}
